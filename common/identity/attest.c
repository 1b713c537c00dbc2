/* Signs statements with the authority's key, and checks them. Thread: any. */
#include "common/identity/attest.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/identity/cert.h"
#include "common/identity/member.h"

/* Signed before the statement's own bytes, so that such a signature cannot be used as that of a certificate. */
static const char purpose[] = "entrepot fleet record 1";

static void must(bool good) {
    if (!good) out_of_memory();
}

void attest_sign(EVP_PKEY *key, const void *data, size_t len, uint8_t **out, size_t *out_len) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    *out_len = 0;
    must(ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
         EVP_DigestSignUpdate(ctx, purpose, sizeof(purpose)) == 1 && EVP_DigestSignUpdate(ctx, data, len) == 1 &&
         EVP_DigestSignFinal(ctx, NULL, out_len) == 1);
    *out = xmalloc(*out_len);
    must(EVP_DigestSignFinal(ctx, *out, out_len) == 1);
    EVP_MD_CTX_free(ctx);
}

static bool is_signed_by(EVP_PKEY *key, const void *data, size_t len, const void *signature, size_t signature_len) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    must(ctx);
    bool good = key && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerifyUpdate(ctx, purpose, sizeof(purpose)) == 1 &&
                EVP_DigestVerifyUpdate(ctx, data, len) == 1 &&
                EVP_DigestVerifyFinal(ctx, signature, signature_len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

bool chain_is_good(X509 *cert, STACK_OF(X509) * others, STACK_OF(X509) * roots) {
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    must(ctx && X509_STORE_CTX_init(ctx, NULL, cert, others));
    X509_STORE_CTX_set0_trusted_stack(ctx, roots);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
    bool good = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

int attest_check(STACK_OF(X509) * roots, const char *fleet, X509 *signer, const void *data, size_t len,
                 const void *signature, size_t signature_len, struct error *err) {
    struct member m;
    int r = member_of(&m, signer, err);
    if (r < 0) return error_set(err, ERR_DENIED, "the signer is no authority of a fleet");
    if (m.role != MEMBER_AUTHORITY || strcmp(m.fleet, fleet) != 0)
        return error_set(err, ERR_DENIED, "the signer is not an authority of this fleet");
    if (!chain_is_good(signer, NULL, roots))
        return error_set(err, ERR_DENIED, "the signer does not stand below a root of this fleet");
    if (!is_signed_by(X509_get0_pubkey(signer), data, len, signature, signature_len))
        return error_set(err, ERR_DENIED, "the signature is wrong");
    return 0;
}

static int by_bytes(const void *a, const void *b) {
    return memcmp(a, b, 32);
}

uint64_t roots_mark(STACK_OF(X509) * roots) {
    size_t n = (size_t)sk_X509_num(roots);
    uint8_t(*hashes)[32] = xcalloc(n + 1, sizeof(*hashes)), sum[EVP_MAX_MD_SIZE];
    uint64_t mark = 0;
    for (size_t i = 0; i < n; i++)
        cert_hash(sk_X509_value(roots, (int)i), hashes[i]);
    qsort(hashes, n, sizeof(*hashes), by_bytes);
    must(EVP_Digest(hashes, n * sizeof(*hashes), sum, NULL, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < sizeof(mark); i++)
        mark = mark << 8 | sum[i];
    free(hashes);
    return mark ? mark : 1;
}
