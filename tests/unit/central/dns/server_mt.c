/* The DNS with its threads: queries by UDP and TCP while views are replaced. */
#include "central/dns/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "central/dns/query.h"
#include "tests/unit/support/dns_fixture.h"

enum { THREADS = 2, CONNECTIONS = 8, CLIENTS = 3, QUERIES = 400 };

static struct dns_views *views;
static struct dns_cookies cookies;
static struct dns_server *server;

static int set_up(void **state) {
    (void)state;
    struct error err = {0};
    const struct dns_server_setup setup = {.listen = "127.0.0.1:0",
                                           .threads = THREADS,
                                           .connections = CONNECTIONS,
                                           .cookies = &cookies,
                                           .views = views = dns_views_new(THREADS + 1)};
    if (dns_cookies_load(&cookies, NULL, &err) < 0 || dns_server_new(&server, &setup, &err) < 0) return -1;
    dns_views_publish(views, dns_fixture_view(dns_fixture_usual(), 0));
    dns_server_start(server);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    dns_server_free(server);
    dns_views_free(views);
    return 0;
}

static int connect_to(int type) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)dns_server_port(server))};
    struct timeval within = {.tv_sec = 20};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof(within)) < 0)
        abort();
    return fd;
}

/* A query for registry.img.acme.example, behind its length if it is for TCP. */
static size_t query(uint8_t *out, unsigned id) {
    static const uint8_t rest[] = "\x01\0\0\x01\0\0\0\0\0\0\x08registry\x03img\x04"
                                  "acme\x07"
                                  "example\0\0\x01\0\x01";
    dns_put16(out, (unsigned)sizeof(rest) - 1 + 2);
    dns_put16(out + 2, id);
    memcpy(out + 4, rest, sizeof(rest) - 1);
    return sizeof(rest) - 1 + 4;
}

static void *ask_udp(void *arg) {
    uint8_t out[100], in[600];
    int fd = connect_to(SOCK_DGRAM);
    (void)arg;
    for (unsigned i = 0; i < QUERIES; i++) {
        size_t len = query(out, i);
        if (send(fd, out + 2, len - 2, 0) < 0) abort();
        ssize_t n = recv(fd, in, sizeof(in), 0);
        if (n < DNS_HEADER || dns_get16(in) != i || dns_get16(in + 6) != 1) abort();
    }
    close(fd);
    return NULL;
}

static void queries_are_answered_while_views_and_zones_are_replaced(void **state) {
    (void)state;
    pthread_t clients[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i], NULL, ask_udp, NULL), 0);
    const struct dns_zone *z = dns_views_zone(views);
    for (unsigned i = 0; i < 200; i++) {
        if (i % 20 == 0) z = dns_fixture_usual();
        dns_views_publish(views, dns_fixture_view(z, i % 16));
    }
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    const struct dns_tally *tallies[DNS_THREADS_MAX + 1];
    uint64_t udp = 0;
    size_t n = dns_server_tallies(server, tallies);
    for (size_t i = 0; i < n; i++)
        udp += tallies[i]->counts[DNS_COUNT_UDP];
    assert_int_equal(udp, CLIENTS * QUERIES);
}

static size_t read_all(int fd, uint8_t *in, size_t wanted) {
    size_t got = 0;
    while (got < wanted) {
        ssize_t n = recv(fd, in + got, wanted - got, 0);
        if (n <= 0) break;
        got += (size_t)n;
    }
    return got;
}

static void many_queries_on_one_connection_are_answered_in_order(void **state) {
    (void)state;
    static uint8_t out[QUERIES * 60], in[QUERIES * 80];
    int fd = connect_to(SOCK_STREAM);
    size_t len = 0;
    for (unsigned i = 0; i < QUERIES; i++)
        len += query(out + len, i);
    /* In two parts, the first of which ends within a message, and then the client's end. */
    assert_int_equal(send(fd, out, 101, 0), 101);
    assert_int_equal(send(fd, out + 101, len - 101, 0), len - 101);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (unsigned i = 0; i < QUERIES; i++) {
        assert_int_equal(read_all(fd, in, 2), 2);
        size_t size = dns_get16(in);
        assert_true(size > DNS_HEADER && size < sizeof(in));
        assert_int_equal(read_all(fd, in, size), size);
        assert_int_equal(dns_get16(in), i);
        assert_int_equal(dns_get16(in + 6), 1);
    }
    assert_int_equal(recv(fd, in, 1, 0), 0);
    close(fd);
}

/* True if the server has closed the connection. */
static bool is_closed(int fd) {
    uint8_t byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void what_is_no_query_closes_the_connection(void **state) {
    (void)state;
    static const struct {
        uint8_t bytes[20];
        size_t len;
    } cases[] = {
        {{0xff, 0xff, 1}, 3},                                 /* a length that no query has */
        {{0, 0}, 2},                                          /* none */
        {{0, 12, 0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 14}, /* an answer */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = connect_to(SOCK_STREAM);
        assert_int_equal(send(fd, cases[i].bytes, cases[i].len, 0), cases[i].len);
        assert_true(is_closed(fd));
        close(fd);
    }
}

static void one_address_gets_half_of_the_connections(void **state) {
    (void)state;
    int fds[CONNECTIONS / 2];
    uint8_t out[100], in[200];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = connect_to(SOCK_STREAM);
        size_t len = query(out, 1);
        assert_int_equal(send(fds[i], out, len, 0), len);
        assert_int_equal(read_all(fds[i], in, 2), 2);
    }
    int more = connect_to(SOCK_STREAM);
    assert_true(is_closed(more));
    close(more);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

#define EACH_ANEW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        EACH_ANEW(queries_are_answered_while_views_and_zones_are_replaced),
        EACH_ANEW(many_queries_on_one_connection_are_answered_in_order),
        EACH_ANEW(what_is_no_query_closes_the_connection),
        EACH_ANEW(one_address_gets_half_of_the_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
