/* Server TLS contexts, read again when their files change. Thread: as the header says. */
#include "common/http/tls.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PEM_MAX MiB

struct tls_server {
    char *cert_file, *key_file;
    struct stat cert_seen, key_seen;
    pthread_mutex_t lock; /* guards ctx and not_after, for a few instructions */
    SSL_CTX *ctx;
    int64_t not_after;
};

static int tls_error(struct error *err, const char *what, const char *file) {
    unsigned long e = ERR_peek_last_error();
    int reason = ERR_GET_REASON(e);
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    /* What OpenSSL says of a file that holds nothing it can read. */
    bool none = reason == ERR_R_UNSUPPORTED || (ERR_GET_LIB(e) == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE);
    ERR_clear_error();
    int r = error_set(err, ERR_INVALID, "%s %s: %s", what, file,
                      none   ? "nothing in this file can be read as PEM"
                      : text ? text
                             : "unreadable");
    if (none || strcmp(what, "key") == 0) error_hint(err, "give a PEM file; a key must have no passphrase");
    return r;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg) {
    (void)ssl;
    (void)arg;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int64_t seconds_of(const ASN1_TIME *time) {
    struct tm tm;
    return time && ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 0;
}

static int64_t end_of(const SSL_CTX *ctx) {
    const X509 *cert = SSL_CTX_get0_certificate(ctx);
    return cert ? seconds_of(X509_get0_notAfter(cert)) : 0;
}

static int64_t begin_of(const SSL_CTX *ctx) {
    return seconds_of(X509_get0_notBefore(SSL_CTX_get0_certificate(ctx)));
}

static bool is_good_now(const SSL_CTX *ctx) {
    int64_t now = clock_wall_s();
    return now >= begin_of(ctx) && now < end_of(ctx);
}

/* A certificate that clients would refuse does not replace one that they accept. */
static int check_better(const struct tls_server *t, const SSL_CTX *fresh, struct error *err) {
    if (!t->ctx || is_good_now(fresh) || !is_good_now(t->ctx)) return 0;
    bool ended = clock_wall_s() >= end_of(fresh);
    char when[CLOCK_DATE_MAX], kept[CLOCK_DATE_MAX];
    clock_date(ended ? end_of(fresh) : begin_of(fresh), when);
    clock_date(t->not_after, kept);
    return error_set(err, ERR_INVALID, "certificate %s %s %s; the one in use, good until %s, is kept", t->cert_file,
                     ended ? "ended on" : "is not valid before", when, kept);
}

/* A key with a passphrase is an error. OpenSSL would otherwise ask for it on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg) {
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* A file of PEM, read here rather than by OpenSSL: a FIFO in its place must not hold the control loop. */
static BIO *open_pem(const char *what, const char *file, struct error *err) {
    char *data;
    size_t len;
    if (file_read_all(file, PEM_MAX, &data, &len, err) < 0) {
        int r = error_wrap(err, "%s", what);
        (void)r;
        return NULL;
    }
    BIO *pem = BIO_new(BIO_s_mem());
    if (!pem || (len > 0 && BIO_write(pem, data, (int)len) != (int)len)) out_of_memory();
    OPENSSL_cleanse(data, len);
    free(data);
    return pem;
}

/* The certificate, then those that lead to its authority. */
static bool use_chain(SSL_CTX *ctx, BIO *pem) {
    X509 *leaf = PEM_read_bio_X509_AUX(pem, NULL, no_passphrase, NULL);
    bool ok = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;
    X509_free(leaf);
    while (ok) {
        X509 *next = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL);
        if (!next) break;
        ok = SSL_CTX_add0_chain_cert(ctx, next) == 1;
        if (!ok) X509_free(next);
    }
    if (!ok || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) return false;
    ERR_clear_error(); /* the end */
    return true;
}

static int load_chain(SSL_CTX *ctx, const char *file, struct error *err) {
    BIO *pem = open_pem("certificate", file, err);
    if (!pem) return err->code;
    int r = use_chain(ctx, pem) ? 0 : tls_error(err, "certificate", file);
    BIO_free(pem);
    return r;
}

static int load_key(SSL_CTX *ctx, const char *file, struct error *err) {
    BIO *pem = open_pem("key", file, err);
    if (!pem) return err->code;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, NULL);
    int r = key ? 0 : tls_error(err, "key", file);
    if (key && SSL_CTX_use_PrivateKey(ctx, key) != 1)
        r = tls_error(err, "the key does not belong to the certificate:", file);
    EVP_PKEY_free(key);
    BIO_free(pem);
    return r;
}

SSL_CTX *tls_context_new(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) out_of_memory();
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_ENABLE_KTLS | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return ctx;
}

SSL_CTX *tls_context_of(X509 *cert, STACK_OF(X509) * more, EVP_PKEY *key) {
    SSL_CTX *ctx = tls_context_new();
    bool good = SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    for (int i = 0; good && i < sk_X509_num(more); i++)
        good = SSL_CTX_add1_chain_cert(ctx, sk_X509_value(more, i)) == 1;
    ERR_clear_error();
    if (good) return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static int load(const struct tls_server *t, SSL_CTX **out, struct error *err) {
    SSL_CTX *ctx = tls_context_new();
    ERR_clear_error();
    int r = load_chain(ctx, t->cert_file, err);
    if (r == 0) r = load_key(ctx, t->key_file, err);
    if (r == 0 && SSL_CTX_check_private_key(ctx) != 1)
        r = tls_error(err, "the key does not belong to the certificate:", t->key_file);
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    *out = ctx;
    return 0;
}

void tls_server_replace(struct tls_server *t, SSL_CTX *ctx) {
    pthread_mutex_lock(&t->lock);
    SSL_CTX *old = t->ctx;
    t->ctx = ctx;
    t->not_after = end_of(ctx);
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old);
}

struct tls_server *tls_server_of(SSL_CTX *ctx) {
    struct tls_server *t = xcalloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    tls_server_replace(t, ctx);
    return t;
}

int tls_server_new(struct tls_server **out, const char *cert_file, const char *key_file, struct error *err) {
    struct tls_server *t = xcalloc(1, sizeof(*t));
    t->cert_file = xstrdup(cert_file);
    t->key_file = xstrdup(key_file);
    pthread_mutex_init(&t->lock, NULL);
    int r = tls_server_reload(t, err);
    if (r < 0) {
        tls_server_free(t);
        return r;
    }
    *out = t;
    return 0;
}

static bool same(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int tls_server_reload(struct tls_server *t, struct error *err) {
    struct stat cert, key;
    if (!t->cert_file) return 0;
    if (stat(t->cert_file, &cert) < 0) return error_errno(err, "certificate %s", t->cert_file);
    if (stat(t->key_file, &key) < 0) return error_errno(err, "key %s", t->key_file);
    if (t->ctx && same(&cert, &t->cert_seen) && same(&key, &t->key_seen)) return 0;
    SSL_CTX *ctx;
    int r = load(t, &ctx, err);
    if (r < 0) return r;
    r = check_better(t, ctx, err);
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    tls_server_replace(t, ctx);
    t->cert_seen = cert;
    t->key_seen = key;
    return 1;
}

SSL_CTX *tls_server_ctx(struct tls_server *t) {
    pthread_mutex_lock(&t->lock);
    SSL_CTX *ctx = t->ctx;
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&t->lock);
    return ctx;
}

int64_t tls_server_not_after(const struct tls_server *t) {
    struct tls_server *self = (struct tls_server *)(uintptr_t)t;
    pthread_mutex_lock(&self->lock);
    int64_t at = t->not_after;
    pthread_mutex_unlock(&self->lock);
    return at;
}

void tls_forget_errors(void) {
    if (ERR_peek_error()) ERR_clear_error();
}

void tls_forget_issuers(SSL *ssl) {
    STACK_OF(X509) *const chains[] = {SSL_get_peer_cert_chain(ssl), SSL_get0_verified_chain(ssl)};
    for (size_t i = 0; i < ARRAY_LEN(chains); i++)
        for (X509 *cert; chains[i] && (cert = sk_X509_pop(chains[i]));)
            X509_free(cert);
}

void tls_server_free(struct tls_server *t) {
    if (!t) return;
    SSL_CTX_free(t->ctx);
    pthread_mutex_destroy(&t->lock);
    free(t->cert_file);
    free(t->key_file);
    free(t);
}
