/* The server through raw sockets: one test for each rule of requests and answers. */
#include "tests/unit/support/http_fixture.h"

static struct fixture f;
static char big_buf[BIG + 4096];

static int start(void **state) {
    (void)state;
    fixture_init(&f, 1);
    fixture_start(&f);
    return 0;
}

static int stop(void **state) {
    (void)state;
    fixture_stop(&f, 100);
    return 0;
}

static void answer_carries_id_date_and_length(void **state) {
    (void)state;
    char out[2048];
    exchange("GET /hello HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc.1_2-3\r\nConnection: close\r\n\r\n", out,
             sizeof(out));
    assert_non_null(strstr(out, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(out, "\r\nX-Request-Id: abc.1_2-3\r\n"));
    assert_non_null(strstr(out, "\r\nServer: entrepot\r\n"));
    assert_non_null(strstr(out, "\r\nDate: "));
    assert_non_null(strstr(out, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(out, "\r\nConnection: close\r\n"));
    assert_string_equal(body_of(out), "hello");
    exchange("GET /hello HTTP/1.1\r\nHost: a\r\nX-Request-Id: <evil>\r\nConnection: close\r\n\r\n", out, sizeof(out));
    assert_null(strstr(out, "evil"));
    assert_non_null(strstr(out, "\r\nX-Request-Id: "));
}

static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    char head[1024], body[64];
    size_t n;
    int fd = dial(&f);
    say(fd, GET("/later") GET("/hello") GET("/later") GET("/hello"));
    static const char *const want[] = {"later", "hello", "later", "hello"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(hear_answer(fd, head, sizeof(head), body, &n));
        assert_string_equal(body, want[i]);
        assert_null(strstr(head, "Connection"));
    }
    close(fd);
}

static void thousand_pipelined_requests_do_not_grow_the_stack(void **state) {
    (void)state;
    static char many[1000 * sizeof(GET("/hello"))];
    many[0] = '\0';
    for (int i = 0; i < 1000; i++)
        memcpy(many + (size_t)i * (sizeof(GET("/hello")) - 1), GET("/hello"), sizeof(GET("/hello")));
    char head[1024], body[64];
    size_t n;
    int fd = dial(&f);
    say(fd, many);
    for (int i = 0; i < 1000; i++)
        assert_true(hear_answer(fd, head, sizeof(head), body, &n));
    close(fd);
}

static void old_clients_are_closed_unless_they_ask(void **state) {
    (void)state;
    char out[1024], head[1024];
    size_t n;
    exchange("GET /hello HTTP/1.0\r\n\r\n", out, sizeof(out));
    assert_non_null(strstr(out, "Connection: close"));
    int fd = dial(&f);
    for (int i = 0; i < 2; i++) {
        say(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_true(hear_answer(fd, head, sizeof(head), out, &n));
        assert_non_null(strstr(head, "Connection: keep-alive"));
    }
    close(fd);
    n = exchange("GET /chunks HTTP/1.0\r\n\r\n", out, sizeof(out));
    assert_null(strstr(out, "chunked"));
    assert_int_equal(n - (size_t)(body_of(out) - out), 27);
}

static void head_keeps_the_length_and_sends_no_body(void **state) {
    (void)state;
    char out[4096];
    static const char *const heads[] = {"/hello", "/big", "/file", "/rendered", "/chunks"};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        char text[128];
        snprintf(text, sizeof(text), "HEAD %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", heads[i]);
        size_t n = exchange(text, out, sizeof(out));
        assert_int_equal(body_of(out) - out, n);
        if (i < 4) assert_non_null(strstr(out, "Content-Length: "));
    }
}

static void large_answers_arrive_whole(void **state) {
    (void)state;
    static const char *const kinds[] = {LAST("/big"), LAST("/file"), LAST("/parts")};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t n = exchange(kinds[i], big_buf, sizeof(big_buf));
        const char *body = body_of(big_buf);
        assert_int_equal(n - (size_t)(body - big_buf), BIG);
        assert_memory_equal(body, pattern, BIG);
    }
    WAIT_FOR(atomic_load(&f.seen.released) >= 1);
}

/* The answer is in the socket's buffers when the request is over; a reset would throw away what has not been read. */
static void late_bytes_do_not_cut_a_large_answer(void **state) {
    (void)state;
    int before = atomic_load(&f.seen.closed);
    int fd = dial(&f);
    say(fd, LAST("/file"));
    for (int i = 0; i < 2000 && atomic_load(&f.seen.closed) == before; i++)
        usleep(1000); /* where the buffers are too small for it, it is not over yet: fine as well */
    say(fd, "\r\n");
    size_t n = hear(fd, big_buf, sizeof(big_buf) - 1);
    const char *body = body_of(big_buf);
    assert_int_equal(n - (size_t)(body - big_buf), BIG);
    assert_memory_equal(body, pattern, BIG);
    close(fd);
}

static void chunked_answers_are_well_formed(void **state) {
    (void)state;
    char out[1024];
    size_t n = exchange(LAST("/chunks"), out, sizeof(out));
    assert_non_null(strstr(out, "Transfer-Encoding: chunked\r\n"));
    const char *body = body_of(out);
    assert_int_equal(n - (size_t)(body - out), 12 + 4 + 22 + 5);
    assert_memory_equal(body, "7\r\nhello, \r\n14\r\n", 16);
    assert_memory_equal(body + 16, pattern, 20);
    assert_memory_equal(body + 36, "\r\n0\r\n\r\n", 7);
}

static void body_of_the_wrong_size_never_looks_whole(void **state) {
    (void)state;
    char out[1024];
    static const char *const bad[] = {GET("/short"), GET("/abort"), GET("/abort-unsized")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int cut = atomic_load(&f.seen.cut);
        size_t n = exchange(bad[i], out, sizeof(out));
        if (n) assert_true(n - (size_t)(body_of(out) - out) < 100);
        assert_null(strstr(out, "\r\n0\r\n\r\n"));
        WAIT_FOR(atomic_load(&f.seen.cut) > cut);
    }
    /* More than promised: the rest is not sent, and nothing follows it. */
    size_t n = exchange(GET("/long") GET("/hello"), out, sizeof(out));
    assert_int_equal(n - (size_t)(body_of(out) - out), 50);
}

static void cut_of_an_unsized_answer_to_an_old_client_is_a_reset(void **state) {
    (void)state;
    char buf[1024];
    int fd = dial(&f);
    say(fd, "GET /abort-unsized HTTP/1.0\r\n\r\n");
    ssize_t n;
    while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {}
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
    close(fd);
}

static void file_shorter_than_promised_cuts_the_answer(void **state) {
    (void)state;
    int cut = atomic_load(&f.seen.cut);
    size_t n = exchange(GET("/file-too-short"), big_buf, sizeof(big_buf));
    assert_true(n < BIG + 1000);
    WAIT_FOR(atomic_load(&f.seen.cut) == cut + 1);
}

static void abort_before_the_answer_is_a_500(void **state) {
    (void)state;
    char out[1024];
    exchange(GET("/abort-early"), out, sizeof(out));
    assert_non_null(strstr(out, "HTTP/1.1 500 "));
    assert_non_null(strstr(out, "Connection: close"));
}

static void header_values_cannot_split_the_answer(void **state) {
    (void)state;
    char out[1024];
    exchange(LAST("/split"), out, sizeof(out));
    assert_non_null(strstr(out, "X-Split: a  X-Evil: 1\r\n"));
}

static void repeated_list_headers_are_joined(void **state) {
    (void)state;
    char out[1024];
    exchange("GET /accept HTTP/1.1\r\nHost: a\r\nAccept: a/b\r\naccept: c/d\r\nConnection: close\r\n\r\n", out,
             sizeof(out));
    assert_string_equal(body_of(out), "a/b, c/d");
}

static void whole_header_lines_stand_beside_the_servers_own(void **state) {
    (void)state;
    char out[1024];
    int released = atomic_load(&f.seen.released);
    exchange(LAST("/rendered"), out, sizeof(out));
    assert_non_null(strstr(out, "\r\nX-Request-Id: "));
    assert_non_null(strstr(out, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(out, "\r\nX-First: 1\r\nX-Second: 2\r\n\r\n"));
    assert_string_equal(body_of(out), "rendered");
    WAIT_FOR(atomic_load(&f.seen.released) == released + 1);
}

static void bad_heads_are_refused_and_closed(void **state) {
    (void)state;
    static const struct {
        const char *status, *text;
    } cases[] = {
        {"HTTP/1.1 400 ", "GET / HTTP/1.1\r\n\r\n"},
        {"HTTP/1.1 400 ", "GET /\nHost: a\n\n"},
        {"HTTP/1.1 400 ",
         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"HTTP/1.1 501 ", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"},
        {"HTTP/1.1 417 ", "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"},
        {"HTTP/1.1 400 ", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
        {"HTTP/1.1 413 ", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[2048];
        exchange(cases[i].text, out, sizeof(out));
        if (strncmp(out, cases[i].status, strlen(cases[i].status)) != 0) fail_msg("%s\n-> %s", cases[i].text, out);
        assert_non_null(strstr(out, "\r\nConnection: close\r\n"));
        assert_non_null(strstr(out, "\r\nX-Request-Id: "));
        assert_null(strstr(body_of(out), "HTTP/1.1"));
    }
}

static void endless_heads_are_refused(void **state) {
    (void)state;
    static char text[70000];
    char out[2048];
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "GET /", 5);
    exchange(text, out, sizeof(out));
    assert_non_null(strstr(out, "HTTP/1.1 414 "));
    memcpy(text, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    exchange(text, out, sizeof(out));
    assert_non_null(strstr(out, "HTTP/1.1 431 "));
}

static void bodies_are_collected_whichever_way_they_come(void **state) {
    (void)state;
    char head[1024], body[1024];
    size_t n;
    int fd = dial(&f);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: "
            "v\r\n\r\n"
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" GET("/hello"));
    static const char *const want[] = {"hello", "abcde", "", "hello"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(hear_answer(fd, head, sizeof(head), body, &n));
        assert_string_equal(body, want[i]);
    }
    close(fd);
}

static void chunked_body_over_the_limit_is_a_413(void **state) {
    (void)state;
    static char text[200000];
    char out[1024];
    int n =
        snprintf(text, sizeof(text), "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n");
    memset(text + n, 'x', 0x20000);
    text[n + 0x20000] = '\0';
    exchange(text, out, sizeof(out));
    assert_non_null(strstr(out, "HTTP/1.1 413 "));
}

static void slow_sink_gets_every_byte_and_stops_the_sender(void **state) {
    (void)state;
    static char text[400000];
    char head[1024], body[1024];
    size_t n;
    for (int chunked = 0; chunked < 2; chunked++) {
        size_t at = (size_t)snprintf(text, sizeof(text), "PUT /slow HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n%s",
                                     chunked ? "Transfer-Encoding: chunked" : "Content-Length: 300000",
                                     chunked ? "493e0\r\n" : "");
        memcpy(text + at, pattern, 300000);
        at += 300000;
        const char *tail = chunked ? "\r\n0\r\n\r\n" GET("/hello") : GET("/hello");
        memcpy(text + at, tail, strlen(tail));
        at += strlen(tail);
        int fd = dial(&f);
        assert_int_equal(send(fd, text, at, MSG_NOSIGNAL), at);
        assert_true(hear_answer(fd, head, sizeof(head), body, &n));
        assert_string_equal(body, "/slow 300000 right");
        assert_true(hear_answer(fd, head, sizeof(head), body, &n));
        assert_string_equal(body, "hello");
        close(fd);
    }
    assert_true(atomic_load(&f.seen.paused) > 100);
}

static void sink_may_end_the_request(void **state) {
    (void)state;
    char out[1024];
    exchange("PUT /abort-in-body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789", out, sizeof(out));
    assert_non_null(strstr(out, "HTTP/1.1 500 "));
}

static void body_is_invited_only_when_wanted(void **state) {
    (void)state;
    char head[1024], body[1024];
    size_t n;
    int fd = dial(&f);
    say(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_true(hear_answer(fd, head, sizeof(head), body, &n));
    assert_string_equal(head, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "hello");
    assert_true(hear_answer(fd, head, sizeof(head), body, &n));
    assert_string_equal(body, "hello");
    say(fd, "PUT /hello HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_true(hear_answer(fd, head, sizeof(head), body, &n));
    assert_non_null(strstr(head, "Connection: close"));
    assert_int_equal(recv(fd, body, 1, 0), 0);
    close(fd);
}

static void unread_short_body_is_skipped(void **state) {
    (void)state;
    char head[1024], body[64];
    size_t n;
    int fd = dial(&f);
    say(fd, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde" GET("/hello"));
    assert_true(hear_answer(fd, head, sizeof(head), body, &n));
    assert_true(hear_answer(fd, head, sizeof(head), body, &n));
    assert_string_equal(body, "hello");
    close(fd);
}

/* A reset would destroy the answer in the client's receive buffer: it comes although megabytes were on their way. */
static void refused_upload_still_hears_its_answer(void **state) {
    (void)state;
    char out[1024];
    int fd = dial(&f);
    say(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    for (size_t at = 0; at < 200000; at += 10000)
        if (send(fd, pattern + at, 10000, MSG_NOSIGNAL) < 0) break;
    hear(fd, out, sizeof(out) - 1);
    assert_non_null(strstr(out, "HTTP/1.1 413 "));
    close(fd);
}

static void departed_client_is_noticed_while_its_request_waits(void **state) {
    (void)state;
    int closed = atomic_load(&f.seen.closed), handled = atomic_load(&f.seen.handled);
    int fd = dial(&f);
    say(fd, GET("/never"));
    WAIT_FOR(atomic_load(&f.seen.handled) == handled + 1);
    close(fd);
    WAIT_FOR(atomic_load(&f.seen.closed) == closed + 1);
}

static void client_that_shut_down_its_side_gets_the_answer(void **state) {
    (void)state;
    int fd = dial(&f);
    say(fd, GET("/big"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    size_t n = hear(fd, big_buf, sizeof(big_buf) - 1);
    assert_int_equal(n - (size_t)(body_of(big_buf) - big_buf), BIG);
    close(fd);
}

static void statistics_count_what_happened(void **state) {
    (void)state;
    struct http_stats s;
    http_server_stats(f.server, &s);
    char out[1024];
    exchange(LAST("/hello"), out, sizeof(out));
    exchange("bad\r\n\r\n", out, sizeof(out));
    struct http_stats t;
    http_server_stats(f.server, &t);
    assert_int_equal(t.requests, s.requests + 1);
    assert_int_equal(t.bad_requests, s.bad_requests + 1);
    assert_int_equal(t.accepted, s.accepted + 2);
}

static void port_in_use_is_an_error_that_names_the_address(void **state) {
    (void)state;
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(f.server));
    struct http_server_config cfg = f.cfg;
    cfg.address = address;
    cfg.loops = f.loops;
    struct http_server *s = NULL;
    struct error err = {0};
    assert_int_equal(http_server_new(&s, &cfg, &err), -EADDRINUSE);
    assert_non_null(strstr(err.msg, address));
    assert_true(err.hint[0] != '\0');
    cfg.address = "no port";
    assert_int_equal(http_server_new(&s, &cfg, &err), ERR_INVALID);
}

int main(void) {
#define SHARED(t) cmocka_unit_test_setup_teardown(t, start, stop)
    const struct CMUnitTest tests[] = {
        SHARED(answer_carries_id_date_and_length),
        SHARED(pipelined_requests_are_answered_in_order),
        SHARED(thousand_pipelined_requests_do_not_grow_the_stack),
        SHARED(old_clients_are_closed_unless_they_ask),
        SHARED(head_keeps_the_length_and_sends_no_body),
        SHARED(large_answers_arrive_whole),
        SHARED(late_bytes_do_not_cut_a_large_answer),
        SHARED(chunked_answers_are_well_formed),
        SHARED(body_of_the_wrong_size_never_looks_whole),
        SHARED(cut_of_an_unsized_answer_to_an_old_client_is_a_reset),
        SHARED(file_shorter_than_promised_cuts_the_answer),
        SHARED(abort_before_the_answer_is_a_500),
        SHARED(header_values_cannot_split_the_answer),
        SHARED(repeated_list_headers_are_joined),
        SHARED(whole_header_lines_stand_beside_the_servers_own),
        SHARED(bad_heads_are_refused_and_closed),
        SHARED(endless_heads_are_refused),
        SHARED(bodies_are_collected_whichever_way_they_come),
        SHARED(chunked_body_over_the_limit_is_a_413),
        SHARED(slow_sink_gets_every_byte_and_stops_the_sender),
        SHARED(sink_may_end_the_request),
        SHARED(body_is_invited_only_when_wanted),
        SHARED(unread_short_body_is_skipped),
        SHARED(refused_upload_still_hears_its_answer),
        SHARED(departed_client_is_noticed_while_its_request_waits),
        SHARED(client_that_shut_down_its_side_gets_the_answer),
        SHARED(statistics_count_what_happened),
        SHARED(port_in_use_is_an_error_that_names_the_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
