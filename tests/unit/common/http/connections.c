/* Which connections the server accepts, where, and when it closes them: limits, draining, addresses, sockets. */
#include "tests/unit/support/http_fixture.h"

#include <sys/stat.h>

static struct fixture f;
static char big_buf[BIG + 4096];

/* --- servers with limits of their own --- */

static void slow_heads_idle_and_stalled_clients_are_cut(void **state) {
    (void)state;
    fixture_init(&f, 1);
    f.cfg.limits.head_ms = 300;
    f.cfg.limits.idle_ms = 300;
    f.cfg.limits.send_stall_ms = 300;
    fixture_start(&f);
    char out[1024];
    int idle = dial(&f), slow = dial(&f), stalled = dial(&f);
    say(slow, "GET / HTTP/1.1\r\nHo");
    say(stalled, GET("/big") GET("/big") GET("/big"));
    assert_int_equal(hear(idle, out, 1), 0);
    hear(slow, out, sizeof(out) - 1);
    assert_non_null(strstr(out, "HTTP/1.1 408 "));
    WAIT_FOR(atomic_load(&f.seen.cut) == 1);
    close(idle);
    close(slow);
    close(stalled);
    fixture_stop(&f, 100);
}

static void connections_of_one_address_are_limited(void **state) {
    (void)state;
    fixture_init(&f, 1);
    f.cfg.limits.conns_per_addr = 3;
    fixture_start(&f);
    char out[1024], head[1024];
    size_t n;
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(&f);
        say(fds[i], GET("/hello"));
        assert_true(hear_answer(fds[i], head, sizeof(head), out, &n));
    }
    int over = dial(&f);
    hear(over, out, sizeof(out) - 1);
    assert_non_null(strstr(out, "HTTP/1.1 503 "));
    close(over);
    close(fds[0]);
    struct http_stats s;
    WAIT_FOR((http_server_stats(f.server, &s), s.connections == 2));
    int again = dial(&f);
    say(again, GET("/hello"));
    assert_true(hear_answer(again, head, sizeof(head), out, &n));
    close(again);
    close(fds[1]);
    close(fds[2]);
    fixture_stop(&f, 100);
}

static int dial_v6(void) {
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)http_server_port(f.server))};
    a.sin6_addr = in6addr_loopback;
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void connections_of_an_ipv6_address_that_have_ended_count_no_more(void **state) {
    (void)state;
    fixture_init(&f, 1);
    f.cfg.address = "[::1]:0";
    f.cfg.limits.conns_per_addr = 2;
    fixture_start(&f);
    char out[1024], head[1024];
    size_t n;
    struct http_stats s;
    for (int i = 0; i < 5; i++) {
        int fd = dial_v6();
        say(fd, GET("/hello"));
        assert_true(hear_answer(fd, head, sizeof(head), out, &n));
        assert_non_null(strstr(head, "HTTP/1.1 200 "));
        close(fd);
        WAIT_FOR((http_server_stats(f.server, &s), s.connections == 0));
    }
    fixture_stop(&f, 100);
}

static void connections_of_some_networks_are_not_limited(void **state) {
    (void)state;
    fixture_init(&f, 1);
    struct network proxies[2];
    assert_true(network_parse(&proxies[0], "10.0.0.0/8") && network_parse(&proxies[1], "127.0.0.1/32"));
    f.cfg.limits.conns_per_addr = 1;
    f.cfg.limits.not_counted = proxies;
    f.cfg.limits.n_not_counted = ARRAY_LEN(proxies);
    fixture_start(&f);
    char out[1024], head[1024];
    size_t n;
    int fds[4];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(&f);
        say(fds[i], GET("/hello"));
        assert_true(hear_answer(fds[i], head, sizeof(head), out, &n));
        assert_non_null(strstr(head, "HTTP/1.1 200 "));
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    fixture_stop(&f, 100);
}

static void the_longest_idle_connection_is_closed_for_a_new_one(void **state) {
    (void)state;
    fixture_init(&f, 1);
    f.cfg.limits.conns = 2;
    fixture_start(&f);
    char out[1024], head[1024];
    size_t n;
    int first = dial(&f), second = dial(&f);
    say(first, GET("/hello"));
    assert_true(hear_answer(first, head, sizeof(head), out, &n));
    say(second, GET("/hello"));
    assert_true(hear_answer(second, head, sizeof(head), out, &n));
    int third = dial(&f);
    say(third, GET("/hello"));
    assert_true(hear_answer(third, head, sizeof(head), out, &n));
    assert_int_equal(hear(first, out, 1), 0);
    close(first);
    close(second);
    close(third);
    fixture_stop(&f, 100);
}

/* Slow readers and half heads, a thousand in all, and a normal request between them. */
static void thousand_slow_clients_do_not_hinder_a_normal_one(void **state) {
    (void)state;
    fixture_init(&f, 1);
    fixture_start(&f);
    static int fds[1000];
    for (int i = 0; i < 1000; i++) {
        fds[i] = dial(&f);
        assert_true(fds[i] >= 0);
        say(fds[i], i % 2 ? "GET / HTTP/1.1\r\nX:" : GET("/file"));
    }
    char head[1024], out[64];
    size_t n;
    int fd = dial(&f);
    say(fd, GET("/hello"));
    assert_true(hear_answer(fd, head, sizeof(head), out, &n));
    struct http_stats s; /* it was answered while all the slow ones were there */
    http_server_stats(f.server, &s);
    assert_int_equal(s.connections, 1001);
    close(fd);
    for (int i = 0; i < 1000; i++)
        close(fds[i]);
    fixture_stop(&f, 100);
}

static void drain_lets_a_running_request_end_and_closes_the_rest(void **state) {
    (void)state;
    fixture_init(&f, 1);
    fixture_start(&f);
    char out[1024];
    int idle = dial(&f), busy = dial(&f);
    struct http_stats s;
    WAIT_FOR((http_server_stats(f.server, &s), s.connections == 2));
    say(busy, GET("/big"));
    WAIT_FOR(atomic_load(&f.seen.handled) == 1);
    http_server_drain(f.server, 20000, on_drained, &f);
    assert_int_equal(hear(idle, out, 1), 0);
    size_t n = hear(busy, big_buf, sizeof(big_buf) - 1);
    assert_int_equal(n - (size_t)(body_of(big_buf) - big_buf), BIG);
    close(busy);
    close(idle);
    WAIT_FOR(atomic_load(&f.drained));
    http_server_free(f.server);
    loop_stop(f.loops[0]);
    loop_join(f.loops[0]);
    loop_free(f.loops[0]);
    open_file_unref(f.file);
}

static void drain_cuts_after_its_grace(void **state) {
    (void)state;
    fixture_init(&f, 1);
    fixture_start(&f);
    int fd = dial(&f);
    say(fd, GET("/never"));
    WAIT_FOR(atomic_load(&f.seen.handled) == 1);
    fixture_stop(&f, 50);
    assert_int_equal(atomic_load(&f.seen.cut), 1);
    close(fd);
}

/* --- addresses --- */

static void both_families_reach_a_bare_port(void **state) {
    (void)state;
    fixture_init(&f, 1);
    f.cfg.address = ":0";
    fixture_start(&f);
    char out[1024];
    exchange(LAST("/hello"), out, sizeof(out));
    assert_string_equal(body_of(out), "hello");
    fixture_stop(&f, 100);
}

static int dial_unix(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0) return fd;
    close(fd);
    return -1;
}

static void unix_socket_is_private_and_replaces_only_a_stale_one(void **state) {
    (void)state;
    char dir[] = "/tmp/http-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&a, sizeof(a)), 0);
    close(stale);
    fixture_init(&f, 1);
    snprintf(f.address, sizeof(f.address), "unix:%s", path);
    f.cfg.address = f.address;
    fixture_start(&f);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct http_server_config cfg = f.cfg;
    struct http_server *second = NULL;
    struct error err = {0};
    assert_int_equal(http_server_new(&second, &cfg, &err), ERR_BUSY);
    char head[1024], out[64];
    size_t n;
    int fd = dial_unix(path);
    say(fd, GET("/hello"));
    assert_true(hear_answer(fd, head, sizeof(head), out, &n));
    close(fd);
    fixture_stop(&f, 100);
    assert_int_equal(stat(path, &st), -1);
    FILE *plain = fopen(path, "w");
    assert_non_null(plain);
    fclose(plain);
    fixture_init(&f, 1);
    snprintf(f.address, sizeof(f.address), "unix:%s", path);
    f.cfg.address = f.address;
    assert_true(http_server_new(&second, &f.cfg, &err) < 0);
    assert_int_equal(stat(path, &st), 0);
    loop_free(f.loops[0]);
    open_file_unref(f.file);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_heads_idle_and_stalled_clients_are_cut),
        cmocka_unit_test(connections_of_one_address_are_limited),
        cmocka_unit_test(connections_of_an_ipv6_address_that_have_ended_count_no_more),
        cmocka_unit_test(connections_of_some_networks_are_not_limited),
        cmocka_unit_test(the_longest_idle_connection_is_closed_for_a_new_one),
        cmocka_unit_test(thousand_slow_clients_do_not_hinder_a_normal_one),
        cmocka_unit_test(drain_lets_a_running_request_end_and_closes_the_rest),
        cmocka_unit_test(drain_cuts_after_its_grace),
        cmocka_unit_test(both_families_reach_a_bare_port),
        cmocka_unit_test(unix_socket_is_private_and_replaces_only_a_stale_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
