/* Certificates: made, read, read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/support/self_signed.h"

#include "common/core/clock.h"
#include "common/http/tls.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static char dir[64], cert[96], key[96], other_cert[96], other_key[96];
static const char *const names[] = {"edge.example", "10.1.2.3", "::1"};

static int enter(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/tls-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    snprintf(other_cert, sizeof(other_cert), "%s/cert2.pem", dir);
    snprintf(other_key, sizeof(other_key), "%s/key2.pem", dir);
    return 0;
}

static int leave(void **state) {
    (void)state;
    unlink(cert);
    unlink(key);
    unlink(other_cert);
    unlink(other_key);
    return rmdir(dir);
}

static void make(const char *c, const char *k) {
    struct error err = {0};
    assert_int_equal(self_signed_make(c, k, names, 3, &err), 0);
}

static void write_file(const char *path, const char *text) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void certificate_tells_its_end(void **state) {
    (void)state;
    make(cert, key);
    struct tls_server *t = NULL;
    struct error err = {0};
    assert_int_equal(tls_server_new(&t, cert, key, &err), 0);
    int64_t days = (tls_server_not_after(t) - (int64_t)time(NULL)) / 86400;
    assert_true(days >= 3649 && days <= 3650);
    tls_server_free(t);
}

static void reload_takes_what_changed_and_keeps_what_works(void **state) {
    (void)state;
    make(cert, key);
    make(other_cert, other_key);
    struct tls_server *t = NULL;
    struct error err = {0};
    assert_int_equal(tls_server_new(&t, cert, key, &err), 0);
    assert_int_equal(tls_server_reload(t, &err), 0);
    SSL_CTX *first = tls_server_ctx(t);
    write_file(cert, "rubbish\n");
    assert_true(tls_server_reload(t, &err) < 0);
    assert_non_null(strstr(err.msg, cert));
    SSL_CTX *same = tls_server_ctx(t);
    assert_ptr_equal(first, same);
    SSL_CTX_free(same);
    /* A certificate whose key has not come yet does not belong to it. */
    assert_int_equal(rename(other_cert, cert), 0);
    assert_true(tls_server_reload(t, &err) < 0);
    assert_int_equal(rename(other_key, key), 0);
    assert_int_equal(tls_server_reload(t, &err), 1);
    SSL_CTX *second = tls_server_ctx(t);
    assert_ptr_not_equal(first, second);
    SSL_CTX_free(second);
    SSL_CTX_free(first);
    unlink(key);
    assert_true(tls_server_reload(t, &err) < 0);
    tls_server_free(t);
}

/* Opened as a file is, it would hold whoever reads it until somebody writes. */
/* As make, but its end was an hour ago. */
static void write_expired(const char *c, const char *k) {
    FILE *f = fopen(k, "r");
    EVP_PKEY *own = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    f = fopen(c, "r");
    X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), -3600);
    assert_true(X509_sign(x, own, EVP_sha256()) > 0);
    f = fopen(c, "w");
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(own);
}

static void an_expired_certificate_never_replaces_a_good_one(void **state) {
    (void)state;
    struct tls_server *t;
    struct error err = {0};
    make(cert, key);
    assert_int_equal(tls_server_new(&t, cert, key, &err), 0);
    int64_t end = tls_server_not_after(t);
    write_expired(cert, key);
    assert_int_equal(tls_server_reload(t, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "ended on 20"));
    assert_non_null(strstr(err.msg, "is kept"));
    assert_int_equal(tls_server_not_after(t), end);
    /* By a clock that is 30 years ahead the one in use is no good either: what comes is taken. */
    clock_set_fake(1000, (int64_t)time(NULL) + 30L * 365 * 86400);
    assert_int_equal(tls_server_reload(t, &err), 1);
    assert_true(tls_server_not_after(t) < end);
    clock_set_fake(-1, 0);
    tls_server_free(t);
}

static void a_fifo_is_no_certificate_and_no_key(void **state) {
    (void)state;
    make(cert, key);
    struct tls_server *t = NULL;
    struct error err = {0};
    assert_int_equal(tls_server_new(&t, cert, key, &err), 0);
    SSL_CTX *good = tls_server_ctx(t);
    for (int i = 0; i < 2; i++) {
        const char *path = i == 0 ? cert : key, *aside = i == 0 ? other_cert : other_key;
        assert_int_equal(rename(path, aside), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        alarm(20); /* rather than wait for good */
        assert_true(tls_server_reload(t, &err) < 0);
        alarm(0);
        assert_non_null(strstr(err.msg, path));
        SSL_CTX *now = tls_server_ctx(t);
        assert_ptr_equal(now, good);
        SSL_CTX_free(now);
        assert_int_equal(rename(aside, path), 0);
    }
    SSL_CTX_free(good);
    tls_server_free(t);
}

static size_t append(const char *path, const char *from) {
    FILE *in = fopen(from, "r"), *out = fopen(path, "a");
    assert_non_null(in);
    assert_non_null(out);
    char text[8192];
    size_t n = fread(text, 1, sizeof(text), in);
    assert_int_equal(fwrite(text, 1, n, out), n);
    fclose(in);
    fclose(out);
    return n;
}

static void the_whole_chain_is_taken_and_a_broken_one_refused(void **state) {
    (void)state;
    make(cert, key);
    make(other_cert, other_key);
    append(cert, other_cert);
    struct tls_server *t = NULL;
    struct error err = {0};
    assert_int_equal(tls_server_new(&t, cert, key, &err), 0);
    SSL_CTX *ctx = tls_server_ctx(t);
    STACK_OF(X509) *chain = NULL;
    assert_int_equal(SSL_CTX_get0_chain_certs(ctx, &chain), 1);
    assert_int_equal(sk_X509_num(chain), 1);
    SSL_CTX_free(ctx);
    size_t n = append(cert, other_cert);
    struct stat st;
    assert_int_equal(stat(cert, &st), 0);
    assert_int_equal(truncate(cert, st.st_size - (off_t)n / 2), 0);
    assert_true(tls_server_reload(t, &err) < 0);
    tls_server_free(t);
}

/* OpenSSL would ask for it on the terminal. */
static void key_with_a_passphrase_is_an_error(void **state) {
    (void)state;
    make(cert, key);
    FILE *file = fopen(key, "r");
    EVP_PKEY *k = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    file = fopen(key, "w");
    char pass[] = "secret";
    assert_int_equal(PEM_write_PrivateKey(file, k, EVP_aes_128_cbc(), (unsigned char *)pass, 6, NULL, NULL), 1);
    fclose(file);
    EVP_PKEY_free(k);
    struct tls_server *t = NULL;
    struct error err = {0};
    assert_true(tls_server_new(&t, cert, key, &err) < 0);
    assert_non_null(strstr(err.msg, key));
    assert_non_null(strstr(err.hint, "no passphrase"));
}

static void a_file_without_a_key_is_told_in_words(void **state) {
    (void)state;
    make(cert, key);
    FILE *file = fopen(key, "w");
    fputs("broken\n", file);
    fclose(file);
    struct tls_server *t = NULL;
    struct error err = {0};
    assert_true(tls_server_new(&t, cert, key, &err) < 0);
    assert_non_null(strstr(err.msg, "nothing in this file can be read as PEM"));
}

/* --- after a handshake --- */

static SSL *end_of(SSL_CTX *ctx, BIO *in, BIO *out) {
    SSL *ssl = SSL_new(ctx);
    SSL_set_bio(ssl, in, out);
    BIO_up_ref(in);
    BIO_up_ref(out);
    return ssl;
}

static SSL_CTX *client_with_chain(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    FILE *more = fopen(other_cert, "r");
    assert_int_equal(SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_add0_chain_cert(ctx, PEM_read_X509(more, NULL, NULL, NULL)), 1);
    fclose(more);
    return ctx;
}

static void issuers_are_forgotten_and_the_other_end_s_certificate_stays(void **state) {
    (void)state;
    make(cert, key);
    make(other_cert, other_key);
    struct tls_server *t;
    struct error err = {0};
    assert_int_equal(tls_server_new(&t, cert, key, &err), 0);
    SSL_CTX *theirs = client_with_chain(), *ours = tls_server_ctx(t);
    SSL_CTX_load_verify_locations(ours, cert, NULL);
    SSL_CTX_set_verify(ours, SSL_VERIFY_PEER, NULL);
    BIO *up = BIO_new(BIO_s_mem()), *down = BIO_new(BIO_s_mem());
    SSL *client = end_of(theirs, down, up), *server = end_of(ours, up, down);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    while (SSL_do_handshake(client) != 1 || SSL_do_handshake(server) != 1)
        if (SSL_do_handshake(server) != 1) assert_int_equal(SSL_get_error(server, -1), SSL_ERROR_WANT_READ);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(server)), 1);
    tls_forget_issuers(server);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(server)), 0);
    assert_int_equal(sk_X509_num(SSL_get0_verified_chain(server)), 0);
    assert_non_null(SSL_get0_peer_certificate(server));
    assert_int_equal(SSL_get_verify_result(server), X509_V_OK);
    assert_int_equal(SSL_write(client, "x", 1), 1);
    char byte;
    assert_int_equal(SSL_read(server, &byte, 1), 1);
    SSL_free(client);
    SSL_free(server);
    BIO_free(up);
    BIO_free(down);
    SSL_CTX_free(theirs);
    SSL_CTX_free(ours);
    tls_server_free(t);
}

int main(void) {
#define IN_DIR(t) cmocka_unit_test_setup_teardown(t, enter, leave)
    const struct CMUnitTest tests[] = {
        IN_DIR(issuers_are_forgotten_and_the_other_end_s_certificate_stays),
        IN_DIR(certificate_tells_its_end),
        IN_DIR(reload_takes_what_changed_and_keeps_what_works),
        IN_DIR(an_expired_certificate_never_replaces_a_good_one),
        IN_DIR(a_fifo_is_no_certificate_and_no_key),
        IN_DIR(the_whole_chain_is_taken_and_a_broken_one_refused),
        IN_DIR(key_with_a_passphrase_is_an_error),
        IN_DIR(a_file_without_a_key_is_told_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
