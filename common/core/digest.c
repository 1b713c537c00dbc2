/* Digest values and the running hash. OpenSSL's one-algorithm interface is used rather than EVP because it shows the
 * chaining value that piece proofs are made of; it runs the same SHA-NI and AVX2 code. Thread: any. */
#include "common/core/digest.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "common/core/error.h"
#include "common/core/hex.h"

_Static_assert(sizeof(SHA256_CTX) <= 256 && sizeof(SHA512_CTX) <= 256, "hasher.state holds either context");

static const struct {
    const char *name;
    size_t len;
} algs[] = {
    [DIGEST_NONE] = {"none", 0},
    [DIGEST_SHA256] = {"sha256", 32},
    [DIGEST_SHA512] = {"sha512", 64},
};

size_t digest_len(enum digest_alg alg) {
    return alg < ARRAY_LEN(algs) ? algs[alg].len : 0;
}

const char *digest_alg_name(enum digest_alg alg) {
    return alg < ARRAY_LEN(algs) ? algs[alg].name : "none";
}

/* image-spec: algorithm-component [+._-] …, then ':' and [a-zA-Z0-9=_-]+. */
static bool fits_grammar(const char *s, size_t len, size_t colon) {
    bool component_empty = true;
    for (size_t i = 0; i < colon; i++) {
        char c = s[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (component_empty || !memchr("+._-", c, 4))) return false;
        component_empty = !alnum;
    }
    if (component_empty || colon + 1 == len) return false;
    for (size_t i = colon + 1; i < len; i++) {
        char c = s[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || memchr("=_-", c, 3);
        if (!ok) return false;
    }
    return true;
}

int digest_parse(struct digest *d, const char *s, size_t len) {
    memset(d, 0, sizeof(*d));
    const char *c = memchr(s, ':', len);
    if (!c) return ERR_INVALID;
    size_t colon = (size_t)(c - s);
    enum digest_alg alg = DIGEST_NONE;
    for (unsigned a = DIGEST_SHA256; a < ARRAY_LEN(algs); a++) {
        if (strlen(algs[a].name) == colon && memcmp(algs[a].name, s, colon) == 0) alg = (enum digest_alg)a;
    }
    if (alg == DIGEST_NONE) return len <= 512 && fits_grammar(s, len, colon) ? ERR_UNSUPPORTED : ERR_INVALID;
    size_t n = algs[alg].len;
    if (len - colon - 1 != 2 * n) return ERR_INVALID;
    const char *hex = s + colon + 1;
    if (!hex_read(hex, n, d->bytes)) {
        memset(d, 0, sizeof(*d));
        return ERR_INVALID;
    }
    d->alg = (uint8_t)alg;
    return 0;
}

char *digest_hex(const struct digest *d, char out[DIGEST_STR_MAX]) {
    hex_write(d->bytes, digest_len(d->alg), out);
    return out;
}

char *digest_str(const struct digest *d, char out[DIGEST_STR_MAX]) {
    const char *name = digest_alg_name(d->alg);
    size_t n = strlen(name);
    memcpy(out, name, n);
    out[n] = ':';
    hex_write(d->bytes, digest_len(d->alg), out + n + 1);
    return out;
}

bool digest_eq(const struct digest *a, const struct digest *b) {
    return memcmp(a, b, sizeof(*a)) == 0;
}

int digest_from_bytes(struct digest *d, enum digest_alg alg, const void *bytes, size_t len) {
    memset(d, 0, sizeof(*d));
    if (!digest_len(alg) || len != digest_len(alg)) return ERR_INVALID;
    d->alg = (uint8_t)alg;
    memcpy(d->bytes, bytes, len);
    return 0;
}

static inline SHA256_CTX *ctx256(const struct hasher *h) {
    return (SHA256_CTX *)(void *)h->state;
}
static inline SHA512_CTX *ctx512(const struct hasher *h) {
    return (SHA512_CTX *)(void *)h->state;
}

void hasher_init(struct hasher *h, enum digest_alg alg) {
    assert(digest_len(alg));
    memset(h, 0, sizeof(*h));
    h->alg = alg;
    if (alg == DIGEST_SHA256)
        SHA256_Init(ctx256(h));
    else
        SHA512_Init(ctx512(h));
}

void hasher_update(struct hasher *h, const void *data, size_t len) {
    h->len += len;
    if (h->alg == DIGEST_SHA256)
        SHA256_Update(ctx256(h), data, len);
    else
        SHA512_Update(ctx512(h), data, len);
}

void hasher_final(struct hasher *h, struct digest *out) {
    memset(out, 0, sizeof(*out));
    out->alg = (uint8_t)h->alg;
    if (h->alg == DIGEST_SHA256)
        SHA256_Final(out->bytes, ctx256(h));
    else
        SHA512_Final(out->bytes, ctx512(h));
}

void hasher_proof(const struct hasher *h, uint8_t out[PIECE_PROOF_MAX]) {
    assert(h->len % 128 == 0);
    if (h->alg == DIGEST_SHA256) {
        for (int i = 0; i < 8; i++) {
            uint32_t v = __builtin_bswap32(ctx256(h)->h[i]);
            memcpy(out + 4 * i, &v, 4);
        }
    } else {
        for (int i = 0; i < 8; i++) {
            uint64_t v = __builtin_bswap64(ctx512(h)->h[i]);
            memcpy(out + 8 * i, &v, 8);
        }
    }
}

void hasher_resume(struct hasher *h, enum digest_alg alg, uint64_t len, const uint8_t *proof) {
    assert(len % 128 == 0);
    hasher_init(h, alg);
    h->len = len;
    if (alg == DIGEST_SHA256) {
        SHA256_CTX *c = ctx256(h);
        for (int i = 0; i < 8; i++) {
            uint32_t v;
            memcpy(&v, proof + 4 * i, 4);
            c->h[i] = __builtin_bswap32(v);
        }
        c->Nl = (SHA_LONG)(len << 3);
        c->Nh = (SHA_LONG)(len >> 29);
    } else {
        SHA512_CTX *c = ctx512(h);
        for (int i = 0; i < 8; i++) {
            uint64_t v;
            memcpy(&v, proof + 8 * i, 8);
            c->h[i] = __builtin_bswap64(v);
        }
        c->Nl = len << 3;
        c->Nh = len >> 61;
    }
}

void digest_of(struct digest *out, enum digest_alg alg, const void *data, size_t len) {
    struct hasher h;
    hasher_init(&h, alg);
    hasher_update(&h, data, len);
    hasher_final(&h, out);
}
