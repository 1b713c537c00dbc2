/* The server where callbacks, clients and limits meet in awkward ways: nothing is lost, freed early or starved. */
#include "tests/unit/support/http_fixture.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define HUGE_FILE ((int64_t)2200 * 1024 * 1024)

static struct fixture f;
static atomic_bool spinning;
static atomic_int ticks;
static struct http_req *_Atomic paused_req;
static struct http_req *group[8];
static struct open_file *huge;

/* --- handlers --- */

/* Asks to be called again before it has anything to send. */
static void tick(struct http_req *r) {
    if (atomic_fetch_add(&ticks, 1) < 5) {
        http_body_on_drain(r, 1 << 20, tick);
        return;
    }
    http_body_mem(r, "ticked", 6);
    http_reply_end(r);
}

static void spin(struct http_req *r) {
    if (atomic_load(&spinning)) {
        http_body_on_drain(r, 0, spin);
        return;
    }
    http_body_mem(r, "done", 4);
    http_reply_end(r);
}

static void abort_it(struct http_req *r) {
    http_reply_abort(r);
}

static size_t resume_at_once(struct http_req *r, const void *data, size_t len) {
    (void)data;
    http_req_resume_body(r);
    return len < 1000 ? len : 1000;
}

static void say_read(struct http_req *r) {
    reply_text(r, "read");
}

static size_t stop_once(struct http_req *r, const void *data, size_t len) {
    (void)data;
    if (http_req_user(r)) return len;
    http_req_set_user(r, calloc(1, 1));
    atomic_store(&paused_req, r);
    return 0;
}

static size_t never_take(struct http_req *r, const void *data, size_t len) {
    (void)r, (void)data, (void)len;
    atomic_fetch_add(&f.seen.paused, 1);
    return 0;
}

/* The first of the group that ends takes the others with it. */
static void on_group_close(struct http_req *r, bool cut) {
    on_close(r, cut);
    for (size_t i = 0; i < ARRAY_LEN(group); i++)
        if (group[i] == r) group[i] = NULL;
    for (size_t i = 0; i < ARRAY_LEN(group); i++)
        if (group[i]) http_reply_abort(group[i]);
}

static void cut_first_of_group(void *arg) {
    (void)arg;
    if (group[0]) http_reply_abort(group[0]);
}

static void join_group(struct http_req *r) {
    http_req_on_close(r, on_group_close);
    http_reply_begin(r, 200, "text/plain", -1);
    size_t i = 0;
    while (group[i])
        i++;
    group[i] = r;
}

static void many_small(struct http_req *r) {
    http_reply_begin(r, 200, "text/plain", 100000);
    for (size_t i = 0; i < 100000; i++)
        http_body_mem(r, pattern + i, 1);
    http_reply_end(r);
}

static void no_body(struct http_req *r, int status) {
    http_reply_begin(r, status, NULL, -1);
    http_body_mem(r, "body", 4);
    http_reply_end(r);
}

static void two_lists(struct http_req *r) {
    const char *a = http_req_header(r, "x-a"), *b = http_req_header(r, "x-b"), *again = http_req_header(r, "X-A");
    char text[128];
    snprintf(text, sizeof(text), "%s|%s|%d", a, b, a == again);
    reply_text(r, text);
}

static void send_huge(struct http_req *r) {
    http_reply_begin(r, 200, "application/octet-stream", HUGE_FILE);
    http_body_file(r, huge, 0, HUGE_FILE);
    http_reply_end(r);
}

static void edge_handler(struct http_req *r, void *arg) {
    static const struct http_body_sink at_once = {resume_at_once, say_read}, once = {stop_once, say_read},
                                       never = {never_take, say_read};
    const char *t = http_req_target(r);
    http_req_on_close(r, on_close);
    if (strcmp(t, "/tick") == 0) {
        http_reply_begin(r, 200, "text/plain", 6);
        tick(r);
    } else if (strcmp(t, "/spin") == 0) {
        http_reply_begin(r, 200, "text/plain", 4);
        spin(r);
    } else if (strcmp(t, "/abort-in-drain") == 0) {
        http_reply_begin(r, 200, "text/plain", 4);
        http_body_on_drain(r, 1 << 20, abort_it);
    } else if (strcmp(t, "/resume-at-once") == 0) {
        http_req_read_body(r, &at_once, BIG);
    } else if (strcmp(t, "/stop-once") == 0) {
        http_req_read_body(r, &once, BIG);
    } else if (strcmp(t, "/never-take") == 0) {
        http_req_read_body(r, &never, BIG);
    } else if (strcmp(t, "/small-only") == 0) {
        http_req_read_body(r, &at_once, 10);
        http_reply_begin(r, 200, "text/plain", 2);
        http_body_mem(r, "ok", 2);
        http_reply_end(r);
    } else if (strcmp(t, "/group") == 0) {
        join_group(r);
    } else if (strcmp(t, "/many-small") == 0) {
        many_small(r);
    } else if (strcmp(t, "/304") == 0) {
        no_body(r, 304);
    } else if (strcmp(t, "/204") == 0) {
        no_body(r, 204);
    } else if (strcmp(t, "/two-lists") == 0) {
        two_lists(r);
    } else if (strcmp(t, "/huge") == 0) {
        send_huge(r);
    } else {
        handler(r, arg);
        return;
    }
    atomic_fetch_add(&f.seen.handled, 1);
}

/* --- help --- */

static void begin(void) {
    fixture_init(&f, 1);
    f.cfg.handler = edge_handler;
    http_limits_default(&f.cfg.limits);
}

static int start(void **state) {
    (void)state;
    begin();
    fixture_start(&f);
    return 0;
}

static int stop(void **state) {
    (void)state;
    fixture_stop(&f, 100);
    return 0;
}

static const char *answer_to(int fd, const char *text) {
    static char head[2048], body[200000];
    size_t n;
    if (text) say(fd, text);
    if (!hear_answer(fd, head, sizeof(head), body, &n)) return "";
    return body;
}

static void wait_handled(int n) {
    WAIT_FOR(atomic_load(&f.seen.handled) >= n);
}

static int64_t cpu_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The processor time of 300 ms in which nothing should happen: a time must pass for the proof, not for safety. */
static int64_t cpu_while_idle(void) {
    int64_t before = cpu_ms();
    usleep(300000);
    return cpu_ms() - before;
}

/* --- wake-ups --- */

static void drain_callback_with_room_to_spare_comes_from_the_loop(void **state) {
    (void)state;
    atomic_store(&ticks, 0);
    int fd = dial(&f);
    assert_string_equal(answer_to(fd, GET("/tick")), "ticked");
    assert_int_equal(atomic_load(&ticks), 6);
    close(fd);
}

static void drain_callback_that_always_asks_again_lets_others_in(void **state) {
    (void)state;
    atomic_store(&spinning, true);
    int fd = dial(&f), other = dial(&f);
    say(fd, GET("/spin"));
    wait_handled(1);
    assert_string_equal(answer_to(other, GET("/hello")), "hello");
    atomic_store(&spinning, false);
    assert_string_equal(answer_to(fd, NULL), "done");
    close(fd);
    close(other);
}

static void request_may_be_aborted_in_its_drain_callback(void **state) {
    (void)state;
    int fd = dial(&f);
    say(fd, GET("/abort-in-drain"));
    WAIT_FOR(atomic_load(&f.seen.cut) == 1);
    close(fd);
}

static void say_upload(int fd, const char *target, size_t len) {
    char head[256];
    snprintf(head, sizeof(head), "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", target, len);
    say(fd, head);
    assert_int_equal(send(fd, pattern, len, MSG_NOSIGNAL), len);
}

static void sink_may_resume_from_within(void **state) {
    (void)state;
    int fd = dial(&f);
    say_upload(fd, "/resume-at-once", 300000);
    assert_string_equal(answer_to(fd, NULL), "read");
    assert_string_equal(answer_to(fd, GET("/hello")), "hello");
    close(fd);
}

static void body_that_came_while_paused_is_read_after_its_sender_has_finished(void **state) {
    (void)state;
    atomic_store(&paused_req, NULL);
    int fd = dial(&f);
    say_upload(fd, "/stop-once", 200000);
    shutdown(fd, SHUT_WR);
    WAIT_FOR(atomic_load(&paused_req));
    loop_call(f.loops[0], resume, atomic_load(&paused_req));
    assert_string_equal(answer_to(fd, NULL), "read");
    close(fd);
}

static void paused_body_of_a_departed_client_costs_nothing(void **state) {
    (void)state;
    int fd = dial(&f);
    say_upload(fd, "/never-take", 5000);
    close(fd);
    WAIT_FOR(atomic_load(&f.seen.paused) == 1);
    assert_true(cpu_while_idle() < 100);
    assert_int_equal(atomic_load(&f.seen.paused), 1);
}

static void requests_before_a_half_close_are_all_answered(void **state) {
    (void)state;
    static char all[2 * BIG];
    int fd = dial(&f);
    say(fd, GET("/file") GET("/hello") GET("/many-small") GET("/hello") "GET /hel");
    shutdown(fd, SHUT_WR);
    wait_handled(1);
    size_t n = hear(fd, all, sizeof(all) - 1);
    assert_true(n > BIG + 100000 + 10);
    assert_memory_equal(all + n - 5, "hello", 5);
    close(fd);
    assert_int_equal(atomic_load(&f.seen.handled), 4);
}

static void body_that_is_already_here_is_not_invited(void **state) {
    (void)state;
    int fd = dial(&f);
    assert_string_equal(
        answer_to(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"),
        "hello");
    close(fd);
}

/* --- what callbacks may do --- */

static void closing_one_request_may_cut_others(void **state) {
    (void)state;
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = dial(&f);
        say(fds[i], GET("/group"));
        wait_handled(i + 1);
    }
    loop_call(f.loops[0], cut_first_of_group, NULL);
    WAIT_FOR(atomic_load(&f.seen.closed) == 8);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    memset(group, 0, sizeof(group));
}

static void drain_cuts_requests_that_cut_each_other(void **state) {
    (void)state;
    begin();
    fixture_start(&f);
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = dial(&f);
        say(fds[i], GET("/group"));
        wait_handled(i + 1);
    }
    fixture_stop(&f, 10);
    assert_int_equal(atomic_load(&f.seen.cut), 8);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    memset(group, 0, sizeof(group));
}

static void answer_after_the_servers_own_is_not_heard(void **state) {
    (void)state;
    char out[4096];
    int fd = dial(&f);
    say_upload(fd, "/small-only", 1000);
    hear(fd, out, sizeof(out) - 1);
    assert_non_null(strstr(out, "HTTP/1.1 413 "));
    assert_null(strstr(out, "200 OK"));
    close(fd);
}

static void statuses_without_a_body_stream_none(void **state) {
    (void)state;
    int fd = dial(&f);
    assert_string_equal(answer_to(fd, GET("/304")), "");
    assert_string_equal(answer_to(fd, GET("/204")), "");
    assert_string_equal(answer_to(fd, GET("/hello")), "hello");
    close(fd);
}

static void strings_of_repeated_headers_stay_valid(void **state) {
    (void)state;
    int fd = dial(&f);
    assert_string_equal(answer_to(fd, "GET /two-lists HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 3\r\nx-a: 2\r\nx-b: "
                                      "4\r\nX-A:\r\n\r\n"),
                        "1, 2, |3, 4|1");
    close(fd);
}

static void server_may_be_freed_before_its_loop_ran(void **state) {
    (void)state;
    begin();
    struct error err = {0};
    assert_int_equal(http_server_new(&f.server, &f.cfg, &err), 0);
    http_server_free(f.server);
    loop_free(f.loops[0]);
    open_file_unref(f.file);
}

/* --- limits --- */

static void full_server_refuses_when_nobody_is_idle(void **state) {
    (void)state;
    begin();
    f.cfg.limits.conns = 1;
    fixture_start(&f);
    char out[1024];
    int busy = dial(&f);
    say(busy, GET("/never"));
    wait_handled(1);
    int over = dial(&f);
    hear(over, out, sizeof(out) - 1);
    assert_non_null(strstr(out, "HTTP/1.1 503 "));
    close(over);
    close(busy);
    fixture_stop(&f, 100);
}

static void an_address_over_its_limit_closes_no_other_connection(void **state) {
    (void)state;
    begin();
    f.cfg.limits.conns_per_addr = 1;
    f.cfg.limits.conns = 1;
    fixture_start(&f);
    char out[1024];
    int idle = dial(&f);
    assert_string_equal(answer_to(idle, GET("/hello")), "hello");
    int over = dial(&f);
    hear(over, out, sizeof(out) - 1);
    assert_non_null(strstr(out, "HTTP/1.1 503 "));
    assert_string_equal(answer_to(idle, GET("/hello")), "hello");
    close(over);
    close(idle);
    fixture_stop(&f, 100);
}

/* Time is moved by hand; the server's sweep, every half second of real time, sees it. */
static void slow_body_is_a_408(void **state) {
    (void)state;
    begin();
    fixture_start(&f);
    char out[1024] = "";
    int fd = dial(&f);
    struct timeval step = {.tv_usec = 600000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
    say(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nabc");
    wait_handled(1);
    int64_t now = clock_mono_ms();
    for (int i = 0; i < 20 && !out[0]; i++) {
        clock_set_fake(now += 11000, 1700000000);
        hear(fd, out, sizeof(out) - 1);
    }
    clock_set_fake(-1, 0);
    assert_non_null(strstr(out, "HTTP/1.1 408 "));
    assert_non_null(strstr(out, "Connection: close"));
    close(fd);
    fixture_stop(&f, 100);
}

static void empty_line_after_a_request_begins_no_head(void **state) {
    (void)state;
    begin();
    f.cfg.limits.head_ms = 1;
    f.cfg.limits.idle_ms = 1500;
    fixture_start(&f);
    char out[64];
    int fd = dial(&f);
    assert_string_equal(answer_to(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\r\n"), "ok");
    assert_int_equal(hear(fd, out, sizeof(out) - 1), 0); /* closed as idle, no 408 */
    close(fd);
    fixture_stop(&f, 100);
}

static void requests_are_answered_while_the_clock_stands_still(void **state) {
    (void)state;
    clock_set_fake(1000, 1700000000);
    begin();
    fixture_start(&f);
    int fd = dial(&f);
    for (int i = 0; i < 50; i++)
        assert_string_equal(answer_to(fd, GET("/hello")), "hello");
    assert_memory_equal(answer_to(fd, GET("/many-small")), pattern, 100000);
    close(fd);
    clock_set_fake(-1, 0);
    fixture_stop(&f, 100);
}

static void out_of_descriptors_the_listener_waits_without_spinning(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)fd + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(f.server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connected = connect(fd, (struct sockaddr *)&a, sizeof(a));
    int64_t spent = cpu_while_idle();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(connected, 0);
    assert_true(spent < 100);
    assert_string_equal(answer_to(fd, GET("/hello")), "hello");
    close(fd);
}

/* --- fairness --- */

struct flood {
    pthread_t thread;
    int fd;
    const char *text;
    _Atomic int64_t got;
    atomic_bool stop;
};

static void *flood_read(void *arg) {
    struct flood *x = arg;
    static char sink[1 << 20];
    ssize_t n;
    while ((n = recv(x->fd, sink, sizeof(sink), MSG_TRUNC)) > 0)
        atomic_fetch_add(&x->got, n);
    return NULL;
}

static void *flood_write(void *arg) {
    struct flood *x = arg;
    static char many[200 * sizeof(GET("/hello"))];
    size_t one = strlen(GET("/hello"));
    for (size_t i = 0; i < 200; i++)
        memcpy(many + i * one, GET("/hello"), one);
    while (!atomic_load(&x->stop) && send(x->fd, many, 200 * one, MSG_NOSIGNAL) > 0) {}
    return NULL;
}

static void huge_file_arrives_whole_and_hinders_nobody(void **state) {
    (void)state;
    FILE *tmp = tmpfile();
    assert_non_null(tmp);
    assert_int_equal(ftruncate(fileno(tmp), HUGE_FILE), 0);
    huge = open_file_new(dup(fileno(tmp)));
    fclose(tmp);
    struct flood x = {.fd = dial(&f)};
    say(x.fd, LAST("/huge"));
    pthread_create(&x.thread, NULL, flood_read, &x);
    int fd = dial(&f);
    for (int i = 0; i < 20; i++)
        assert_string_equal(answer_to(fd, GET("/hello")), "hello");
    assert_true(atomic_load(&x.got) < HUGE_FILE); /* the others were answered before it had all of it */
    close(fd);
    pthread_join(x.thread, NULL);
    assert_true(atomic_load(&x.got) > HUGE_FILE);
    close(x.fd);
    WAIT_FOR(open_file_refs(huge) == 1);
    open_file_unref(huge);
}

static void pipelined_flood_hinders_nobody(void **state) {
    (void)state;
    struct flood in = {.fd = dial(&f)}, out = {.fd = in.fd};
    pthread_create(&in.thread, NULL, flood_read, &in);
    pthread_create(&out.thread, NULL, flood_write, &out);
    wait_handled(1000);
    int fd = dial(&f);
    for (int i = 0; i < 20; i++) /* while the flood goes on: nothing has told it to stop */
        assert_string_equal(answer_to(fd, GET("/hello")), "hello");
    atomic_store(&out.stop, true);
    shutdown(in.fd, SHUT_RDWR);
    pthread_join(out.thread, NULL);
    pthread_join(in.thread, NULL);
    close(in.fd);
    close(fd);
}

/* --- sockets --- */

static void unix_socket_with_a_full_backlog_is_not_taken_over(void **state) {
    (void)state;
    char dir[] = "/tmp/http-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int busy = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), clients[4];
    assert_int_equal(bind(busy, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(busy, 0), 0);
    for (int i = 0; i < 4; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(clients[i], (struct sockaddr *)&a, sizeof(a)) < 0) assert_int_equal(errno, EAGAIN);
    }
    begin();
    snprintf(f.address, sizeof(f.address), "unix:%s", path);
    f.cfg.address = f.address;
    struct error err = {0};
    assert_int_equal(http_server_new(&f.server, &f.cfg, &err), ERR_BUSY);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    close(busy);
    loop_free(f.loops[0]);
    open_file_unref(f.file);
    unlink(path);
    rmdir(dir);
}

int main(void) {
#define SHARED(t) cmocka_unit_test_setup_teardown(t, start, stop)
    const struct CMUnitTest tests[] = {
        SHARED(drain_callback_with_room_to_spare_comes_from_the_loop),
        SHARED(drain_callback_that_always_asks_again_lets_others_in),
        SHARED(request_may_be_aborted_in_its_drain_callback),
        SHARED(sink_may_resume_from_within),
        SHARED(body_that_came_while_paused_is_read_after_its_sender_has_finished),
        SHARED(paused_body_of_a_departed_client_costs_nothing),
        SHARED(requests_before_a_half_close_are_all_answered),
        SHARED(body_that_is_already_here_is_not_invited),
        SHARED(closing_one_request_may_cut_others),
        cmocka_unit_test(drain_cuts_requests_that_cut_each_other),
        SHARED(answer_after_the_servers_own_is_not_heard),
        SHARED(statuses_without_a_body_stream_none),
        SHARED(strings_of_repeated_headers_stay_valid),
        cmocka_unit_test(server_may_be_freed_before_its_loop_ran),
        cmocka_unit_test(full_server_refuses_when_nobody_is_idle),
        cmocka_unit_test(an_address_over_its_limit_closes_no_other_connection),
        cmocka_unit_test(slow_body_is_a_408),
        cmocka_unit_test(empty_line_after_a_request_begins_no_head),
        cmocka_unit_test(requests_are_answered_while_the_clock_stands_still),
        SHARED(out_of_descriptors_the_listener_waits_without_spinning),
        SHARED(huge_file_arrives_whole_and_hinders_nobody),
        SHARED(pipelined_flood_hinders_nobody),
        cmocka_unit_test(unix_socket_with_a_full_backlog_is_not_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
