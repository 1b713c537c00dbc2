/* Statements that the fleet's authority signs besides certificates, and the number that stands for a set of roots. Pure.
 * Thread: any. */
#ifndef ENTREPOT_IDENTITY_ATTEST_H
#define ENTREPOT_IDENTITY_ATTEST_H

#include <openssl/x509.h>

#include "common/core/error.h"

/* Makes a signature over these bytes with the signer's key. The caller frees *out with free. */
void attest_sign(EVP_PKEY *key, const void *data, size_t len, uint8_t **out, size_t *out_len);
/* 0 if the signature is good and its signer is an authority of that fleet below one of the roots. Dates do not count,
 * because a statement stays true after its signer's certificate has ended. ERR_DENIED: err says why. */
int attest_check(STACK_OF(X509) * roots, const char *fleet, X509 *signer, const void *data, size_t len,
                 const void *signature, size_t signature_len, struct error *err) must_check;

/* Whether the certificate, with the help of others, leads to one of the roots. Dates do not count. */
bool chain_is_good(X509 *cert, STACK_OF(X509) * others, STACK_OF(X509) * roots);
/* A number for a set of roots, whatever their order. Never 0. */
uint64_t roots_mark(STACK_OF(X509) * roots);

#endif
