/* The HTTP client over TLS: whom it trusts, and that it resumes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/stat.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/http/client.h"
#include "tests/unit/support/scripted_server.h"

static SSL_CTX *ctx;
static int listener;
static pthread_t thread;
static atomic_int resumed;
static unsigned port;
static char dir[] = "/tmp/entrepot-tls-XXXXXX", ca[64];

/* A certificate for 127.0.0.1 signed by its own key, written to ca. */
static void make_certificate(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(cert, san, -1);
    X509_EXTENSION_free(san);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
    FILE *f = fopen(ca, "w");
    assert_non_null(f);
    PEM_write_X509(f, cert);
    fclose(f);
    ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* One request a connection, one connection at a time. */
static void *serve(void *arg) {
    (void)arg;
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        SSL *ssl = SSL_new(ctx);
        SSL_set_fd(ssl, fd);
        char head[4096];
        if (SSL_accept(ssl) == 1 && SSL_read(ssl, head, sizeof(head)) > 0) {
            static const char answer[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
            atomic_fetch_add(&resumed, SSL_session_reused(ssl));
            SSL_write(ssl, answer, sizeof(answer) - 1);
            SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

static int start(void **state) {
    (void)state;
    assert_non_null(mkdtemp(dir));
    make_certificate();
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    port = ntohs(in.sin_port);
    return pthread_create(&thread, NULL, serve, NULL);
}

static int stop(void **state) {
    (void)state;
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
    SSL_CTX_free(ctx);
    unlink(ca);
    rmdir(dir);
    return 0;
}

static struct loop *loop;
static struct http_result result;
static int64_t bytes;

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    (void)a;
    (void)arg;
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    (void)data;
    (void)arg;
    bytes += (int64_t)len;
    return true;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    (void)arg;
    result = *r;
    loop_stop(loop);
}

static void run(struct http_client *client, const char *host, struct http_call_spec spec) {
    static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};
    char url[64];
    snprintf(url, sizeof(url), "https://%s:%u/", host, port);
    spec.method = "GET";
    spec.url = url;
    bytes = 0;
    http_call_start(client, &spec, &events, NULL);
    loop_run(loop);
}

static void client_trusts_whom_it_was_told_to(void **state) {
    (void)state;
    loop = loop_new("client");
    struct http_client *client = http_client_new(loop);
    run(client, "127.0.0.1", (struct http_call_spec){0});
    assert_int_equal(result.code, ERR_UNREACHABLE);
    assert_non_null(strstr(result.msg, "certificate"));
    run(client, "127.0.0.1", (struct http_call_spec){.ca_file = ca});
    assert_int_equal(result.code, 0);
    assert_int_equal(bytes, 5);
    run(client, "localhost", (struct http_call_spec){.ca_file = ca}); /* not the certificate's name */
    assert_int_equal(result.code, ERR_UNREACHABLE);
    run(client, "127.0.0.1", (struct http_call_spec){.ca_file = "/nowhere/ca.pem"});
    assert_int_equal(result.code, ERR_UNREACHABLE);
    assert_non_null(strstr(result.msg, "/nowhere/ca.pem"));
    char fifo[] = "/tmp/client-ca-XXXXXX";
    close(mkstemp(fifo));
    unlink(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    run(client, "127.0.0.1", (struct http_call_spec){.ca_file = fifo}); /* would hold the loop for good */
    unlink(fifo);
    assert_int_equal(result.code, ERR_UNREACHABLE);
    assert_non_null(strstr(result.msg, fifo));
    run(client, "127.0.0.1", (struct http_call_spec){.insecure_tls = true});
    assert_int_equal(result.code, 0);
    http_client_free(client);
    loop_free(loop);
}

static void client_resumes_its_tls_sessions(void **state) {
    (void)state;
    loop = loop_new("client");
    struct http_client *client = http_client_new(loop);
    atomic_store(&resumed, 0);
    for (int i = 0; i < 3; i++) {
        run(client, "127.0.0.1", (struct http_call_spec){.ca_file = ca});
        assert_int_equal(result.code, 0);
    }
    assert_int_equal(atomic_load(&resumed), 2);
    http_client_free(client);
    loop_free(loop);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_trusts_whom_it_was_told_to),
        cmocka_unit_test(client_resumes_its_tls_sessions),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
