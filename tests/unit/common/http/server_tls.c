/* The server behind TLS: the same rules, another transport. */
#include "tests/unit/support/http_fixture.h"
#include "tests/unit/support/self_signed.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <unistd.h>

#include "common/core/log.h"
#include "common/http/tls.h"

static struct fixture f;
static struct tls_server *tls;
static char dir[64], cert[96], key[96];
static char answer[BIG + 4096];

static void start_mode(enum http_tls_mode mode) {
    fixture_init(&f, 1);
    f.cfg.tls_mode = mode;
    f.cfg.tls = tls;
    f.cfg.limits.head_ms = 1000;
    fixture_start(&f);
}

static int start_on(void **state) {
    (void)state;
    start_mode(HTTP_TLS_ON);
    return 0;
}

static int start_either(void **state) {
    (void)state;
    start_mode(HTTP_TLS_EITHER);
    return 0;
}

static int start_off(void **state) {
    (void)state;
    start_mode(HTTP_TLS_OFF);
    return 0;
}

static int stop(void **state) {
    (void)state;
    fixture_stop(&f, 100);
    return 0;
}

static int make_cert(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/http-tls-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    static const char *const names[] = {"localhost", "127.0.0.1"};
    struct error err = {0};
    if (self_signed_make(cert, key, names, 2, &err) < 0) return -1;
    return tls_server_new(&tls, cert, key, &err);
}

static int drop_cert(void **state) {
    (void)state;
    tls_server_free(tls);
    unlink(cert);
    unlink(key);
    return rmdir(dir);
}

/* --- a client --- */

/* name: sent as the server's name; NULL: none. */
static SSL *hello_as(int fd, const char *name) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(ctx, cert, NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set1_host(ssl, "localhost");
    if (name) assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    return ssl;
}

static SSL *hello(int fd) {
    return hello_as(fd, NULL);
}

static void tls_say(SSL *ssl, const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        int n = SSL_write(ssl, text + at, (int)(len - at));
        assert_true(n > 0);
        at += (size_t)n;
    }
}

static size_t tls_hear(SSL *ssl, char *out, size_t cap) {
    size_t got = 0;
    int n;
    while (got < cap && (n = SSL_read(ssl, out + got, (int)(cap - got))) > 0)
        got += (size_t)n;
    out[got] = '\0';
    return got;
}

static size_t tls_exchange(const char *text, size_t len) {
    int fd = dial(&f);
    SSL *ssl = hello(fd);
    tls_say(ssl, text, len);
    size_t n = tls_hear(ssl, answer, sizeof(answer) - 1);
    SSL_free(ssl);
    close(fd);
    return n;
}

/* --- tests --- */

static void answers_arrive_whole_over_tls(void **state) {
    (void)state;
    static const char *const kinds[] = {LAST("/big"), LAST("/file"), LAST("/parts")};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t n = tls_exchange(kinds[i], strlen(kinds[i]));
        assert_int_equal(n - (size_t)(body_of(answer) - answer), BIG);
        assert_memory_equal(body_of(answer), pattern, BIG);
    }
}

static void whole_header_lines_are_intact_over_tls(void **state) {
    (void)state;
    static const char text[] = "HEAD /rendered HTTP/1.1\r\nHost: a\r\nX-Request-Id: me\r\nConnection: close\r\n\r\n";
    tls_exchange(text, strlen(text));
    assert_non_null(strstr(answer, "\r\nContent-Length: 8\r\n"));
    assert_non_null(strstr(answer, "\r\nX-Request-Id: me\r\nConnection: close\r\n"));
    assert_non_null(strstr(answer, "\r\nX-First: 1\r\nX-Second: 2\r\n\r\n"));
    assert_string_equal(body_of(answer), "");
    WAIT_FOR(atomic_load(&f.seen.released) == 1);
    tls_exchange(LAST("/rendered"), strlen(LAST("/rendered")));
    assert_string_equal(body_of(answer), "rendered");
}

/* Many requests in one record: no socket event tells of those that were decrypted along with the first. */
static void requests_of_one_record_are_all_answered(void **state) {
    (void)state;
    char many[16000];
    size_t len = 0;
    for (int i = 0; i < 200; i++)
        len += (size_t)snprintf(many + len, sizeof(many) - len, "%s", i % 2 ? GET("/later") : GET("/hello"));
    len += (size_t)snprintf(many + len, sizeof(many) - len, "%s", LAST("/hello"));
    tls_exchange(many, len);
    size_t count = 0;
    for (const char *p = answer; (p = strstr(p, "HTTP/1.1 200")); p++)
        count++;
    assert_int_equal(count, 201);
}

static void upload_that_pauses_comes_whole_over_tls(void **state) {
    (void)state;
    char text[200];
    size_t n = (size_t)snprintf(text, sizeof(text),
                                "PUT /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                "Content-Length: 300000\r\n\r\n");
    int fd = dial(&f);
    SSL *ssl = hello(fd);
    tls_say(ssl, text, n);
    tls_say(ssl, pattern, 300000);
    tls_hear(ssl, answer, sizeof(answer) - 1);
    assert_string_equal(body_of(answer), "/slow 300000 right");
    SSL_free(ssl);
    close(fd);
}

static void file_shorter_than_promised_is_cut_over_tls(void **state) {
    (void)state;
    assert_true(tls_exchange(GET("/file-too-short"), strlen(GET("/file-too-short"))) < BIG + 1000);
    WAIT_FOR(atomic_load(&f.seen.cut) == 1);
}

static void one_port_speaks_both(void **state) {
    (void)state;
    tls_exchange(LAST("/hello"), strlen(LAST("/hello")));
    assert_string_equal(body_of(answer), "hello");
    int fd = dial(&f);
    say(fd, LAST("/hello"));
    hear(fd, answer, sizeof(answer) - 1);
    assert_string_equal(body_of(answer), "hello");
    close(fd);
}

static void plain_http_is_told_to_use_https(void **state) {
    (void)state;
    static const char *const asked[] = {GET("/v2/"), "HEAD /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", "PUT /x HTTP/1.1\r\n",
                                        "G"};
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        int fd = dial(&f);
        say(fd, asked[i]);
        size_t n = hear(fd, answer, sizeof(answer) - 1);
        answer[n] = '\0';
        assert_memory_equal(answer, "HTTP/1.1 400 ", 13);
        assert_non_null(strstr(answer, "Connection: close\r\n"));
        assert_non_null(strstr(body_of(answer), "this port speaks HTTPS: use https://"));
        close(fd);
    }
    struct http_stats stats;
    http_server_stats(f.server, &stats);
    assert_int_equal(stats.bad_requests, 4);
    assert_int_equal(atomic_load(&f.seen.handled), 0);
}

static void other_garbage_gets_no_http_from_a_tls_port(void **state) {
    (void)state;
    static const char *const said[] = {"SSH-2.0-x\r\n", "GETTER /\r\n", "get / HTTP/1.1\r\n\r\n",
                                       "\x80\x01\x02\r\n\r\n"};
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        int fd = dial(&f);
        say(fd, said[i]);
        ssize_t n = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
        answer[n > 0 ? n : 0] = '\0';
        assert_null(strstr(answer, "HTTP/"));
        close(fd);
    }
}

static void tls_at_a_plain_port_is_refused_and_logged_once(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    log_init(ends[1], LOG_FORMAT_KV, LOG_LEVEL_WARN, "test");
    for (int i = 0; i < 3; i++) {
        int fd = dial(&f);
        say(fd, "\x16\x03\x01 a hello");
        size_t n = hear(fd, answer, sizeof(answer) - 1);
        answer[n] = '\0';
        assert_memory_equal(answer, "HTTP/1.1 400 ", 13);
        assert_non_null(strstr(body_of(answer), "this port speaks plain HTTP: use http://"));
        close(fd);
    }
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    ssize_t n = read(ends[0], answer, sizeof(answer) - 1);
    assert_true(n > 0);
    answer[n] = '\0';
    const char *line = strstr(answer, "tls_at_plain_port");
    assert_non_null(line);
    assert_non_null(strstr(line, "127.0.0.1"));
    assert_null(strstr(line + 1, "tls_at_plain_port"));
    close(ends[0]);
    close(ends[1]);
}

static void half_a_handshake_is_closed_in_time(void **state) {
    (void)state;
    char byte[2];
    int silent = dial(&f), half = dial(&f), wrong = dial(&f);
    say(half, "\x16\x03\x01");
    say(wrong, "\x16 is what TLS begins with, but this is not TLS at all\r\n\r\n");
    while (recv(wrong, byte, 1, 0) > 0) {} /* an alert */
    assert_int_equal(hear(half, byte, 1), 0);
    assert_int_equal(hear(silent, byte, 1), 0);
    close(silent);
    close(half);
    close(wrong);
}

static void protocol_is_agreed_on(void **state) {
    (void)state;
    int fd = dial(&f);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    static const unsigned char offer[] = "\x02h2\x08http/1.1";
    SSL_set_alpn_protos(ssl, offer, sizeof(offer) - 1);
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    const unsigned char *chosen;
    unsigned n;
    SSL_get0_alpn_selected(ssl, &chosen, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    SSL_free(ssl);
    close(fd);
}

/* New connections see the new certificate, one that exists goes on. */
static void certificate_changes_under_running_connections(void **state) {
    (void)state;
    int fd = dial(&f);
    SSL *old = hello(fd);
    unlink(cert);
    unlink(key);
    static const char *const names[] = {"localhost", "new.example"};
    struct error err = {0};
    assert_int_equal(self_signed_make(cert, key, names, 2, &err), 0);
    assert_int_equal(tls_server_reload(tls, &err), 1);
    tls_exchange(LAST("/hello"), strlen(LAST("/hello"))); /* verified against the new file */
    assert_string_equal(body_of(answer), "hello");
    tls_say(old, LAST("/hello"), strlen(LAST("/hello")));
    tls_hear(old, answer, sizeof(answer) - 1);
    assert_string_equal(body_of(answer), "hello");
    SSL_free(old);
    close(fd);
}

/* --- other ends that are certified: here whoever names a server counts as that --- */

struct named {
    struct http_peer peer;
    char name[32];
};

static struct http_peer *find_peer(SSL *ssl, void *arg) {
    (void)arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name) return NULL;
    struct named *n = calloc(1, sizeof(*n));
    snprintf(n->name, sizeof(n->name), "%.31s", name);
    n->peer.name = n->name;
    return &n->peer;
}

static bool peer_may_stay(const struct http_peer *peer, void *arg) {
    (void)peer;
    (void)arg;
    return true;
}

static uint64_t peer_changes(void *arg) {
    (void)arg;
    return 1;
}

static void peer_leaves(struct http_peer *peer, void *arg) {
    (void)arg;
    free(peer);
}

/* The status of a request on a new connection of this name, which stays open in *fd and *ssl. */
static int ask_as(const char *name, int *fd, SSL **ssl) {
    *fd = dial(&f);
    *ssl = hello_as(*fd, name);
    if (SSL_write(*ssl, GET("/hello"), (int)strlen(GET("/hello"))) <= 0) return -1;
    int n = SSL_read(*ssl, answer, sizeof(answer) - 1), status = -1;
    answer[n > 0 ? n : 0] = '\0';
    return sscanf(answer, "HTTP/1.1 %d", &status) == 1 ? status : -1;
}

static void certified_connections_of_one_address_are_counted_by_name(void **state) {
    (void)state;
    static const struct http_peers peers = {find_peer, peer_may_stay, peer_changes, peer_leaves, NULL};
    enum { EACH = 3 };
    static const char *const names[] = {"edge-one", "edge-two", "edge-three"};
    int fds[ARRAY_LEN(names)][EACH], over;
    SSL *ssl[ARRAY_LEN(names)][EACH], *refused;
    fixture_init(&f, 1);
    f.cfg.tls_mode = HTTP_TLS_EITHER;
    f.cfg.tls = tls;
    f.cfg.peers = &peers;
    f.cfg.limits.conns_per_addr = EACH;
    fixture_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (int k = 0; k < EACH; k++)
            assert_int_equal(ask_as(names[i], &fds[i][k], &ssl[i][k]), 200);
    assert_int_equal(ask_as(names[0], &over, &refused), 503);
    SSL_free(refused);
    close(over);
    /* Who shows nothing is counted by the address, in which nobody else counts any more. */
    tls_exchange(LAST("/hello"), strlen(LAST("/hello")));
    assert_string_equal(body_of(answer), "hello");
    SSL_free(ssl[0][0]);
    close(fds[0][0]);
    struct http_stats s;
    WAIT_FOR((http_server_stats(f.server, &s), s.connections == ARRAY_LEN(names) * EACH - 1));
    assert_int_equal(s.refused, 1);
    assert_int_equal(ask_as(names[0], &fds[0][0], &ssl[0][0]), 200);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (int k = 0; k < EACH; k++) {
            SSL_free(ssl[i][k]);
            close(fds[i][k]);
        }
    }
    fixture_stop(&f, 100);
}

/* --- the other end --- */

static struct {
    struct http_peer peer;
    atomic_int looked, asked;
    _Atomic uint64_t changes;
    atomic_bool may_stay;
} door = {.peer = {.name = "edge"}};

static struct http_peer *door_find(SSL *ssl, void *arg) {
    (void)ssl, (void)arg;
    return &door.peer;
}

static bool door_may_stay(const struct http_peer *peer, void *arg) {
    (void)peer, (void)arg;
    atomic_fetch_add(&door.asked, 1);
    return atomic_load(&door.may_stay);
}

static uint64_t door_changes(void *arg) {
    (void)arg;
    atomic_fetch_add(&door.looked, 1);
    return atomic_load(&door.changes);
}

static void door_leave(struct http_peer *peer, void *arg) {
    (void)peer, (void)arg;
}

static int start_with_door(void **state) {
    (void)state;
    static const struct http_peers peers = {door_find, door_may_stay, door_changes, door_leave, NULL};
    door.looked = door.asked = 0;
    door.changes = 1;
    door.may_stay = true;
    fixture_init(&f, 1);
    f.cfg.tls_mode = HTTP_TLS_ON;
    f.cfg.tls = tls;
    f.cfg.peers = &peers;
    fixture_start(&f);
    return 0;
}

/* Two sweeps, of which the second began after this call. */
static void await_a_sweep(void) {
    int before = atomic_load(&door.looked);
    while (atomic_load(&door.looked) < before + 2)
        usleep(1000);
}

static void the_other_end_is_asked_about_again_only_after_a_change(void **state) {
    (void)state;
    int fd = dial(&f);
    SSL *ssl = hello(fd);
    tls_say(ssl, GET("/hello"), strlen(GET("/hello")));
    assert_true(SSL_read(ssl, answer, sizeof(answer) - 1) > 0);
    await_a_sweep();
    await_a_sweep();
    assert_int_equal(door.asked, 1);
    atomic_store(&door.changes, 2);
    await_a_sweep();
    assert_int_equal(door.asked, 2);
    atomic_store(&door.may_stay, false);
    atomic_store(&door.changes, 3);
    assert_true(SSL_read(ssl, answer, sizeof(answer) - 1) <= 0);
    assert_int_equal(door.asked, 3);
    SSL_free(ssl);
    close(fd);
}

/* A sweep looks at a part of many connections; in the end at each. */
static void each_of_many_is_asked_about(void **state) {
    (void)state;
    enum { MANY = 300 };
    static int fds[MANY];
    static SSL *ssl[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial(&f);
        ssl[i] = hello(fds[i]);
    }
    while (atomic_load(&door.asked) < MANY)
        usleep(1000);
    atomic_store(&door.may_stay, false);
    atomic_store(&door.changes, 2);
    for (int i = 0; i < MANY; i++) {
        assert_true(SSL_read(ssl[i], answer, sizeof(answer) - 1) <= 0);
        SSL_free(ssl[i]);
        close(fds[i]);
    }
    assert_int_equal(door.asked, 2 * MANY);
}

int main(void) {
#define ON(t) cmocka_unit_test_setup_teardown(t, start_on, stop)
#define EITHER(t) cmocka_unit_test_setup_teardown(t, start_either, stop)
    const struct CMUnitTest tests[] = {
        ON(answers_arrive_whole_over_tls),
        ON(whole_header_lines_are_intact_over_tls),
        ON(requests_of_one_record_are_all_answered),
        ON(upload_that_pauses_comes_whole_over_tls),
        ON(file_shorter_than_promised_is_cut_over_tls),
        ON(protocol_is_agreed_on),
        ON(half_a_handshake_is_closed_in_time),
        ON(plain_http_is_told_to_use_https),
        ON(other_garbage_gets_no_http_from_a_tls_port),
        cmocka_unit_test_setup_teardown(tls_at_a_plain_port_is_refused_and_logged_once, start_off, stop),
        EITHER(one_port_speaks_both),
        EITHER(half_a_handshake_is_closed_in_time),
        cmocka_unit_test_setup_teardown(the_other_end_is_asked_about_again_only_after_a_change, start_with_door, stop),
        cmocka_unit_test_setup_teardown(each_of_many_is_asked_about, start_with_door, stop),
        ON(certificate_changes_under_running_connections),
        cmocka_unit_test(certified_connections_of_one_address_are_counted_by_name),
    };
    return cmocka_run_group_tests(tests, make_cert, drop_cert);
}
