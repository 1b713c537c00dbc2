/* Makes, reads and writes keys, signing requests and certificates by libcrypto. Thread: any. */
#include "common/identity/cert.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"

#define SERIAL_BITS 127

/* These calls of libcrypto fail only if there is no memory, or if there are no random numbers. */
static void must(bool done) {
    if (!done) out_of_memory();
}

static uint8_t *copy_der(unsigned char *der, int len, size_t *out_len) {
    must(len > 0);
    uint8_t *copy = xmalloc((size_t)len);
    memcpy(copy, der, (size_t)len);
    OPENSSL_free(der);
    *out_len = (size_t)len;
    return copy;
}

/* --- keys and requests --- */

EVP_PKEY *key_make(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    must(key != NULL);
    return key;
}

/* The digest to sign with; NULL where the key's kind has its own. */
static const EVP_MD *digest_for(const EVP_PKEY *key) {
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

void csr_make(EVP_PKEY *key, uint8_t **der, size_t *len) {
    X509_REQ *req = X509_REQ_new();
    must(req && X509_REQ_set_version(req, X509_REQ_VERSION_1) && X509_REQ_set_pubkey(req, key) &&
         X509_REQ_sign(req, key, digest_for(key)) > 0);
    unsigned char *raw = NULL;
    int n = i2d_X509_REQ(req, &raw);
    *der = copy_der(raw, n, len);
    X509_REQ_free(req);
}

static bool is_known_kind(const EVP_PKEY *key) {
    char group[64] = "";
    if (EVP_PKEY_is_a(key, "ED25519")) return true;
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) &&
           strcmp(group, "prime256v1") == 0;
}

int csr_key(EVP_PKEY **out, const void *der, size_t len, struct error *err) {
    const unsigned char *p = der;
    X509_REQ *req = len <= INT32_MAX ? d2i_X509_REQ(NULL, &p, (long)len) : NULL;
    EVP_PKEY *key = req && p == (const unsigned char *)der + len ? X509_REQ_get_pubkey(req) : NULL;
    int r = 0;
    if (!key || !is_known_kind(key))
        r = error_set(err, ERR_INVALID, "the signing request has no key of the kind P-256 or Ed25519");
    else if (X509_REQ_verify(req, key) != 1)
        r = error_set(err, ERR_INVALID, "the signing request was not signed by its own key");
    X509_REQ_free(req);
    ERR_clear_error();
    if (r < 0)
        EVP_PKEY_free(key);
    else
        *out = key;
    return r;
}

/* --- certificates --- */

/* libcrypto reads them at their first use; here, while no other thread has the certificate. What is wrong with them, it
 * says at that use. */
static void read_extensions(X509 *cert) {
    (void)X509_check_purpose(cert, -1, 0);
    ERR_clear_error();
}

static void set_serial(X509 *cert) {
    BIGNUM *serial = BN_new();
    must(serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
         BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)));
    BN_free(serial);
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(e && X509_add_ext(cert, e, -1));
    X509_EXTENSION_free(e);
}

static void add_name(GENERAL_NAMES *all, int type, const char *text) {
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_OCTET_STRING *ip = type == GEN_DNS ? a2i_IPADDRESS(text) : NULL;
    must(g != NULL);
    if (ip) {
        GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
    } else {
        ASN1_IA5STRING *s = ASN1_IA5STRING_new();
        must(s && ASN1_STRING_set(s, text, -1));
        GENERAL_NAME_set0_value(g, type, s);
    }
    must(sk_GENERAL_NAME_push(all, g) > 0);
}

static void add_names(X509 *cert, const struct cert_order *o) {
    GENERAL_NAMES *all = GENERAL_NAMES_new();
    must(all != NULL);
    if (o->uri) add_name(all, GEN_URI, o->uri);
    for (size_t i = 0; i < o->n_names; i++)
        add_name(all, GEN_DNS, o->names[i]);
    must(X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, 0) == 1);
    GENERAL_NAMES_free(all);
    ERR_clear_error(); /* a name that is no address leaves one */
}

static void set_dates(X509 *cert, const struct cert_order *o) {
    must(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)o->not_before) &&
         ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)o->not_after));
}

X509 *cert_make(const struct cert_order *o) {
    X509 *cert = X509_new();
    char constraints[64] = "critical,CA:FALSE";
    must(cert && X509_set_version(cert, X509_VERSION_3) && X509_set_pubkey(cert, o->key));
    X509 *issuer = o->issuer ? o->issuer : cert;
    set_serial(cert);
    set_dates(cert, o);
    X509_NAME *name = X509_get_subject_name(cert);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)o->common_name, -1, -1, 0) &&
         X509_set_issuer_name(cert, X509_get_subject_name(issuer)));
    if (o->is_authority) snprintf(constraints, sizeof(constraints), "critical,CA:TRUE,pathlen:%u", o->below);
    add_extension(cert, issuer, NID_basic_constraints, constraints);
    add_extension(cert, issuer, NID_key_usage,
                  o->is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    if (!o->is_authority)
        add_extension(cert, issuer, NID_ext_key_usage, o->uri ? "serverAuth,clientAuth" : "serverAuth");
    add_extension(cert, issuer, NID_subject_key_identifier, "hash");
    if (o->issuer) add_extension(cert, issuer, NID_authority_key_identifier, "keyid");
    add_names(cert, o);
    EVP_PKEY *signer = o->issuer ? o->issuer_key : o->key;
    must(X509_sign(cert, signer, digest_for(signer)) > 0);
    read_extensions(cert);
    return cert;
}

void cert_hash(const X509 *cert, uint8_t out[32]) {
    must(X509_digest(cert, EVP_sha256(), out, NULL) == 1);
}

void cert_to_der(const X509 *cert, uint8_t **der, size_t *len) {
    unsigned char *raw = NULL;
    int n = i2d_X509(cert, &raw);
    *der = copy_der(raw, n, len);
}

int cert_from_der(X509 **out, const void *der, size_t len, struct error *err) {
    const unsigned char *p = der;
    X509 *cert = len <= INT32_MAX ? d2i_X509(NULL, &p, (long)len) : NULL;
    ERR_clear_error();
    if (cert && p == (const unsigned char *)der + len) {
        read_extensions(cert);
        *out = cert;
        return 0;
    }
    X509_free(cert);
    return error_set(err, ERR_INVALID, "not a certificate");
}

/* --- text --- */

static void move(struct buf *b, BIO *bio) {
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    must(len > 0 && buf_add(b, data, (size_t)len) == 0);
    OPENSSL_cleanse(data, (size_t)len);
    BIO_free(bio);
}

void pem_add_key(struct buf *b, EVP_PKEY *key) {
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    move(b, bio);
}

void pem_add_cert(struct buf *b, X509 *cert) {
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio && PEM_write_bio_X509(bio, cert) == 1);
    move(b, bio);
}

/* One object of a PEM text. False: it is of another kind, or broken. */
static bool take_object(const char *name, const unsigned char *data, long len, EVP_PKEY **key, STACK_OF(X509) * certs) {
    const unsigned char *p = data;
    if (strcmp(name, PEM_STRING_X509) == 0) {
        X509 *cert = d2i_X509(NULL, &p, len);
        if (!cert) return false;
        read_extensions(cert);
        must(sk_X509_push(certs, cert) > 0);
        return true;
    }
    if (strcmp(name, PEM_STRING_PKCS8INF) != 0 || *key) return false;
    *key = d2i_AutoPrivateKey(NULL, &p, len);
    return *key != NULL;
}

int pem_read(const char *text, size_t len, EVP_PKEY **key, STACK_OF(X509) * *certs, struct error *err) {
    BIO *bio = BIO_new_mem_buf(text, len > INT32_MAX ? 0 : (int)len);
    char *name, *header;
    unsigned char *data;
    long n;
    bool good = true;
    *key = NULL;
    *certs = sk_X509_new_null();
    must(bio && *certs);
    while (good && PEM_read_bio(bio, &name, &header, &data, &n) == 1) {
        good = take_object(name, data, n, key, *certs);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)n);
    }
    good = good && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; /* the end */
    ERR_clear_error();
    BIO_free(bio);
    if (good) return 0;
    EVP_PKEY_free(*key);
    sk_X509_pop_free(*certs, X509_free);
    *key = NULL;
    *certs = NULL;
    return error_set(err, ERR_INVALID, "not a key and certificates in PEM");
}
