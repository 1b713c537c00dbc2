/* The DNS with its threads: queries by UDP and TCP while views are replaced. */
#include "common/dns/dns_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "common/dns/dns_query.h"
#include "common/core/clock.h"
#include "tests/unit/support/dns_fixture.h"

enum { THREADS = 2, CONNECTIONS = 8, CLIENTS = 3, QUERIES = 400 };

static struct dns_views *views;
static struct dns_server *server;

static int start(const char *listen) {
    struct error err = {0};
    const struct dns_server_setup setup = {
        .listen = listen, .threads = THREADS, .connections = CONNECTIONS, .views = views = dns_views_new(THREADS + 1)};
    if (dns_server_new(&server, &setup, &err) < 0) return -1;
    dns_views_publish(views, dns_fixture_view(dns_fixture_usual(), 0));
    dns_server_start(server);
    return 0;
}

static int set_up(void **state) {
    (void)state;
    return start("127.0.0.1:0");
}

static int set_up_everywhere(void **state) {
    (void)state;
    return start(":0");
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

/* Ten seconds pass; the server looks every second. */
static void pass_ten_seconds(void) {
    clock_set_fake(clock_mono_ms() + 10000, 1000000);
}

static void a_connection_that_asks_nothing_whole_for_ten_seconds_is_closed(void **state) {
    (void)state;
    uint8_t out[100], in[200];
    clock_set_fake(1000, 1000000);
    int silent = connect_to(SOCK_STREAM), slow = connect_to(SOCK_STREAM), good = connect_to(SOCK_STREAM);
    size_t len = query(out, 1);
    assert_int_equal(send(good, out, len, 0), len);
    assert_int_equal(read_all(good, in, 2), 2);
    assert_int_equal(send(slow, out, len - 1, 0), len - 1); /* all but the last byte */
    while (dns_server_connections(server) < 3)
        sched_yield();
    pass_ten_seconds();
    assert_true(is_closed(silent));
    assert_true(is_closed(slow));
    close(silent);
    close(slow);
    close(good);
    clock_set_fake(-1, 0);
}

static void a_client_that_reads_no_answers_is_not_read_from_and_closed(void **state) {
    (void)state;
    static uint8_t out[1000 * 60];
    size_t len = 0, sent = 0;
    struct timeval within = {.tv_sec = 20};
    clock_set_fake(1000, 1000000);
    int fd = connect_to(SOCK_STREAM), small = 4096;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &within, sizeof(within)), 0);
    for (unsigned i = 0; i < 1000; i++)
        len += query(out + len, i);
    /* Until the server takes no more: its own memory for a connection is bounded, and so are the kernel's buffers. */
    while (sent < 64u << 20) {
        ssize_t n = send(fd, out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            if (poll(&p, 1, 300) == 0) break;
            continue;
        }
        assert_true(n > 0);
        sent += (size_t)n;
    }
    assert_true(sent < 64u << 20);
    const struct dns_tally *tallies[DNS_THREADS_MAX + 1];
    const _Atomic uint64_t *count = &tallies[dns_server_tallies(server, tallies) - 1]->counts[DNS_COUNT_TCP];
    for (uint64_t before = UINT64_MAX; before != *count;) { /* what has come may still be being answered */
        before = *count;
        poll(NULL, 0, 300);
    }
    pass_ten_seconds();
    while (dns_server_connections(server) > 0)
        sched_yield();
    close(fd);
    clock_set_fake(-1, 0);
}

/* A socket that is connected takes messages from that address alone. */
static void ask_at(const char *address) {
    uint8_t out[100], in[600];
    struct timeval within = {.tv_sec = 20};
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)dns_server_port(server))};
    assert_int_equal(inet_pton(AF_INET6, address, &to.sin6_addr), 1);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        assert_int_equal(errno, EADDRNOTAVAIL); /* a machine without IPv6 */
        close(fd);
        return;
    }
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof(within)), 0);
    for (unsigned i = 0; i < 3; i++) {
        size_t len = query(out, i) - 2;
        assert_int_equal(send(fd, out + 2, len, 0), len);
        if (recv(fd, in, sizeof(in), 0) < DNS_HEADER) fail_msg("no answer from %s", address);
        assert_int_equal(dns_get16(in), i);
    }
    close(fd);
}

static void answers_leave_from_the_address_that_was_asked(void **state) {
    (void)state;
    ask_at("::ffff:127.0.0.1");
    ask_at("::ffff:127.0.0.9");
    ask_at("::1");
}

#define EACH_ANEW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        EACH_ANEW(queries_are_answered_while_views_and_zones_are_replaced),
        EACH_ANEW(many_queries_on_one_connection_are_answered_in_order),
        EACH_ANEW(what_is_no_query_closes_the_connection),
        EACH_ANEW(a_connection_that_asks_nothing_whole_for_ten_seconds_is_closed),
        EACH_ANEW(a_client_that_reads_no_answers_is_not_read_from_and_closed),
        cmocka_unit_test_setup_teardown(answers_leave_from_the_address_that_was_asked, set_up_everywhere, tear_down),
        EACH_ANEW(one_address_gets_half_of_the_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
