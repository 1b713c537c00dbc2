/* Keys, signing requests and certificates of a fleet, and their text and byte forms. Pure. Thread: any. */
#ifndef ENTREPOT_IDENTITY_CERT_H
#define ENTREPOT_IDENTITY_CERT_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/core/buf.h"
#include "common/core/error.h"

/* A certificate begins this much before it is made, for clocks that are slow. */
#define CERT_EARLY_S 3600

/* A new key (EC P-256). The caller frees it with EVP_PKEY_free. */
EVP_PKEY *key_make(void);
/* A signing request for the key, in DER. The caller frees *der with free. */
void csr_make(EVP_PKEY *key, uint8_t **der, size_t *len);
/* The public key of a request whose own signature is good. The caller frees it. ERR_INVALID: it is no request, its
 * signature is wrong, or the key is neither P-256 nor Ed25519. */
int csr_key(EVP_PKEY **out, const void *der, size_t len, struct error *err) must_check;

struct cert_order {
    const char *common_name;
    const char *uri; /* member_uri; NULL: of no member, and good for servers alone */
    EVP_PKEY *key;   /* the subject's; its public half is enough if there is an issuer */
    X509 *issuer;    /* NULL: signed by its own key */
    EVP_PKEY *issuer_key;
    bool is_authority;
    unsigned below; /* of an authority: how many authorities may stand below it */
    int64_t not_before, not_after;
    const char *const *names; /* hosts and addresses it is good for */
    size_t n_names;
};
/* Makes a certificate. The caller frees it with X509_free. */
X509 *cert_make(const struct cert_order *o);
/* SHA-256 of its DER form. */
void cert_hash(const X509 *cert, uint8_t out[32]);
/* Its DER form. The caller frees *der with free. */
void cert_to_der(const X509 *cert, uint8_t **der, size_t *len);
/* ERR_INVALID: it is no certificate, or bytes follow it. */
int cert_from_der(X509 **out, const void *der, size_t len, struct error *err) must_check;

/* Adds the text form (PEM). The buffer's limit must allow for it. */
void pem_add_key(struct buf *b, EVP_PKEY *key);
void pem_add_cert(struct buf *b, X509 *cert);
/* Reads all of a PEM text: at most one key, and certificates in their order. *key is NULL if there is none. The caller
 * frees both. ERR_INVALID. */
int pem_read(const char *text, size_t len, EVP_PKEY **key, STACK_OF(X509) * *certs, struct error *err) must_check;

#endif
