/* The HTTP client against servers scripted here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "common/core/clock.h"
#include "common/http/client.h"
#include "tests/unit/support/scripted_server.h"

static struct loop *loop;
static struct http_client *client;
static struct script_server server;

/* One call and what came of it. */
struct probe {
    struct http_call *call;
    int heads, parts, dones, status;
    int64_t length, bytes;
    struct http_result result;
    char body[4096], header[128];
    const char *ask; /* a header to keep */
    bool stop_loop, no_head, no_data, pause_in_data, cancel_in_done;
    struct probe *cancel_other, *resume_other, *start_other;
};

static char url[256];
static const struct http_call_events events;

static void act(struct probe *p) {
    if (p->cancel_other && p->cancel_other->call) {
        http_call_cancel(p->cancel_other->call);
        p->cancel_other->call = NULL;
    }
    if (p->resume_other && p->resume_other->call) http_call_resume(p->resume_other->call);
    if (p->start_other && !p->start_other->call) {
        struct http_call_spec spec = {.method = "GET", .url = url};
        p->start_other->call = http_call_start(client, &spec, &events, p->start_other);
    }
}

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    struct probe *p = arg;
    assert_ptr_equal(call, p->call);
    p->heads++;
    p->status = a->status;
    p->length = a->content_length;
    const char *h = p->ask ? a->header(a, p->ask) : NULL;
    snprintf(p->header, sizeof(p->header), "%s", h ? h : "");
    assert_true(strlen(a->remote) > 1);
    if (!p->no_head) return true;
    p->call = NULL;
    loop_stop(loop);
    return false;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    struct probe *p = arg;
    p->parts++;
    for (size_t i = 0; i < len; i++) {
        if (p->bytes + (int64_t)i < (int64_t)sizeof(p->body) - 1)
            p->body[p->bytes + (int64_t)i] = ((const char *)data)[i];
    }
    p->bytes += (int64_t)len;
    if (p->pause_in_data) {
        http_call_pause(call);
        if (p->stop_loop) loop_stop(loop);
    }
    act(p);
    if (!p->no_data) return true;
    p->call = NULL;
    loop_stop(loop);
    return false;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    struct probe *p = arg;
    p->dones++;
    p->result = *r;
    if (p->cancel_in_done) http_call_cancel(call);
    act(p);
    p->call = NULL;
    loop_stop(loop);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static int set_up(void **state) {
    (void)state;
    loop = loop_new("client");
    client = http_client_new(loop);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    http_client_free(client);
    loop_free(loop);
    return 0;
}

static const char *here(const char *path) {
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", server.port, path);
    return url;
}

static void start(struct probe *p, struct http_call_spec spec) {
    if (!spec.method) spec.method = "GET";
    if (!spec.url) spec.url = here("/");
    p->call = http_call_start(client, &spec, &events, p);
    assert_int_equal(p->heads + p->parts + p->dones, 0);
}

/* Runs a call to its end. */
static void run(struct probe *p, struct http_call_spec spec) {
    start(p, spec);
    loop_run(loop);
}

static bool say_arg(struct script_server *s, int fd, const char *head) {
    (void)head;
    script_say(fd, "%s", (const char *)s->arg);
    return false;
}

/* Serves one canned answer and closes; gives the result. */
static struct probe canned(const char *answer, struct http_call_spec spec) {
    struct probe p = {.ask = "x-test"};
    script_start(&server, say_arg, (void *)(uintptr_t)answer);
    run(&p, spec);
    script_stop(&server);
    return p;
}

static void client_reports_status_headers_and_body(void **state) {
    (void)state;
    struct probe p = canned("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Test: early\r\n\r\nHTTP/1.1 200 OK\r\n"
                            "X-Test: first\r\nx-test:   last \r\nContent-Length: 5\r\n\r\nhello",
                            (struct http_call_spec){0});
    assert_int_equal(p.heads, 1);
    assert_int_equal(p.status, 200);
    assert_int_equal(p.length, 5);
    assert_string_equal(p.body, "hello");
    assert_string_equal(p.header, "last");
    assert_int_equal(p.dones, 1);
    assert_int_equal(p.result.code, 0);
    assert_int_equal(p.result.body_bytes, 5);
}

static void client_takes_no_body_for_head(void **state) {
    (void)state;
    struct probe p = canned("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
                            (struct http_call_spec){.method = "HEAD", .max_body = 10});
    assert_int_equal(p.result.code, 0);
    assert_int_equal(p.length, 1000000);
    assert_int_equal(p.parts, 0);
}

static void client_never_follows_a_redirect(void **state) {
    (void)state;
    struct probe p =
        canned("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", (struct http_call_spec){0});
    assert_int_equal(p.status, 302);
    assert_int_equal(atomic_load(&server.requests), 1);
}

static void client_does_not_decode_a_content_encoding(void **state) {
    (void)state;
    struct probe p = canned("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nraw!",
                            (struct http_call_spec){0});
    assert_int_equal(p.result.code, 0);
    assert_string_equal(p.body, "raw!");
}

static void client_tells_broken_answers_apart(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        int code;
        const char *says;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour", ERR_UPSTREAM, "cut its answer short after 4 bytes"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n", ERR_UPSTREAM, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ERR_UPSTREAM, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", ERR_UPSTREAM, "believed"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfive!", ERR_UPSTREAM, "believed"},
        {"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nfour", ERR_UPSTREAM, ""},
        {"", ERR_UPSTREAM, "without an answer"},
        {"garbage garbage\r\n\r\n", ERR_UPSTREAM, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\neleven byte", ERR_TOO_BIG, "larger"},
        {"HTTP/1.1 200 OK\r\n\r\nto the end of the connection", ERR_TOO_BIG, "larger"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n", 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more", 0, ""},
        {"HTTP/1.1 200 OK\r\n\r\nto EOF", 0, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct probe p = canned(cases[i].answer, (struct http_call_spec){.max_body = 10});
        if (p.result.code != cases[i].code || !strstr(p.result.msg, cases[i].says))
            fail_msg("case %zu: code %d, \"%s\"", i, p.result.code, p.result.msg);
        if (cases[i].code) assert_non_null(strstr(p.result.msg, "127.0.0.1:"));
        assert_int_equal(p.dones, 1);
    }
}

static bool say_huge_head(struct script_server *s, int fd, const char *head) {
    (void)s;
    script_say(fd, "HTTP/1.1 200 OK\r\n");
    bool many = strstr(head, "/many") != NULL;
    for (int i = 0; i < (many ? 200 : 100); i++)
        script_say(fd, "X-%d: %0*d\r\n", i, many ? 10 : 1000, 0);
    script_say(fd, "Content-Length: 0\r\n\r\n");
    return false;
}

static void client_bounds_the_head(void **state) {
    (void)state;
    script_start(&server, say_huge_head, NULL);
    struct probe p = {0}, q = {0};
    run(&p, (struct http_call_spec){0});
    run(&q, (struct http_call_spec){.url = here("/many")});
    script_stop(&server);
    assert_int_equal(p.result.code, ERR_UPSTREAM);
    assert_non_null(strstr(p.result.msg, "64 KiB"));
    assert_int_equal(q.result.code, ERR_UPSTREAM);
    assert_int_equal(p.heads + q.heads, 0);
}

static bool say_long_line(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    script_say(fd, "HTTP/1.1 200 OK\r\nX-Long: ");
    for (int i = 0; i < 400; i++)
        script_say(fd, "%01000d", i);
    script_say(fd, "\r\nContent-Length: 0\r\n\r\n");
    return false;
}

/* libcurl calls it a want of memory. */
static void client_says_that_a_line_of_the_head_is_too_long(void **state) {
    (void)state;
    script_start(&server, say_long_line, NULL);
    struct probe p = {0};
    run(&p, (struct http_call_spec){0});
    script_stop(&server);
    assert_int_equal(p.result.code, ERR_UPSTREAM);
    assert_non_null(strstr(p.result.msg, "127.0.0.1:"));
    assert_non_null(strstr(p.result.msg, "too long"));
}

static void client_names_place_and_cause_when_it_cannot_connect(void **state) {
    (void)state;
    script_start(&server, say_arg, NULL);
    script_stop(&server); /* the port is closed now */
    struct probe p = {0}, q = {0};
    run(&p, (struct http_call_spec){0});
    assert_int_equal(p.result.code, ERR_UNREACHABLE);
    assert_non_null(strstr(p.result.msg, "connect to 127.0.0.1:"));
    assert_non_null(strstr(p.result.msg, "Connection refused"));
    assert_true(p.result.refused);
    run(&q, (struct http_call_spec){.url = "http://no-such-host.invalid/"});
    assert_int_equal(q.result.code, ERR_UNREACHABLE);
    assert_false(q.result.refused);
    assert_non_null(strstr(q.result.msg, "no-such-host.invalid"));
}

static bool stall(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/body")) script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    script_wait_closed(fd);
    return false;
}

/* The kernel accepts for it. */
static int listen_only(char there[64]) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(there, 64, "https://127.0.0.1:%u/", ntohs(a.sin_port));
    return fd;
}

static void client_names_a_handshake_that_hangs(void **state) {
    (void)state;
    char there[64];
    int fd = listen_only(there);
    struct probe p = {0};
    run(&p, (struct http_call_spec){.url = there, .connect_ms = 300});
    assert_int_equal(p.result.code, ERR_UNREACHABLE);
    if (!strstr(p.result.msg, "its TLS handshake hangs")) fail_msg("%s", p.result.msg);
    close(fd);
}

static void client_limits_head_stall_and_total_time(void **state) {
    (void)state;
    script_start(&server, stall, NULL);
    struct probe head = {0}, body = {0}, total = {0};
    run(&head, (struct http_call_spec){.head_ms = 50});
    run(&body, (struct http_call_spec){.url = here("/body"), .stall_ms = 50});
    run(&total, (struct http_call_spec){.url = here("/body"), .total_ms = 50});
    script_stop(&server);
    assert_int_equal(head.result.code, ERR_TIMEOUT);
    assert_non_null(strstr(head.result.msg, "sent no answer within 0.1 s"));
    assert_int_equal(body.result.code, ERR_TIMEOUT);
    assert_non_null(strstr(body.result.msg, "sent nothing for"));
    assert_int_equal(body.result.status, 200);
    assert_int_equal(total.result.code, ERR_TIMEOUT);
    assert_non_null(strstr(total.result.msg, "was not done"));
}

static bool keep_alive(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour");
    return true;
}

static void client_uses_a_connection_again(void **state) {
    (void)state;
    script_start(&server, keep_alive, NULL);
    for (int i = 0; i < 3; i++) {
        struct probe p = {0};
        run(&p, (struct http_call_spec){0});
        assert_int_equal(p.result.code, 0);
    }
    script_stop(&server);
    assert_int_equal(atomic_load(&server.connections), 1);
    assert_int_equal(atomic_load(&server.requests), 3);
}

static bool big(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    static char block[65536];
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 64 * 65536);
    for (int i = 0; i < 64; i++)
        script_send(fd, block, sizeof(block));
    return true;
}

static void resume_later(void *arg) {
    struct probe *p = arg;
    http_call_resume(p->call);
}

static void stop_later(void *arg) {
    (void)arg;
    loop_stop(loop);
}

static void client_gives_no_data_while_paused_and_counts_no_stall(void **state) {
    (void)state;
    script_start(&server, big, NULL);
    struct probe p = {.pause_in_data = true, .stop_loop = true};
    struct timer t;
    run(&p, (struct http_call_spec){.stall_ms = 1000}); /* to its first part */
    assert_int_equal(p.parts, 1);
    timer_init(&t, loop, stop_later, NULL);
    timer_set(&t, 1200);
    loop_run(loop);
    assert_int_equal(p.parts, 1);
    assert_int_equal(p.dones, 0);
    timer_fini(&t);
    p.pause_in_data = false;
    timer_init(&t, loop, resume_later, &p);
    timer_set(&t, 0);
    loop_run(loop);
    timer_fini(&t);
    script_stop(&server);
    assert_int_equal(p.result.code, 0);
    assert_int_equal(p.bytes, 64 * 65536);
}

static void client_pauses_before_the_head_too(void **state) {
    (void)state;
    script_start(&server, big, NULL);
    struct probe p = {0};
    start(&p, (struct http_call_spec){0});
    http_call_pause(p.call);
    struct timer t;
    timer_init(&t, loop, stop_later, NULL);
    do {
        timer_set(&t, 100);
        loop_run(loop);
    } while (p.heads == 0);
    timer_set(&t, 100);
    loop_run(loop);
    assert_int_equal(p.heads, 1);
    assert_int_equal(p.parts, 0);
    http_call_resume(p.call);
    assert_int_equal(p.parts, 0);
    http_call_pause(p.call);
    http_call_resume(p.call);
    loop_run(loop);
    timer_fini(&t);
    script_stop(&server);
    assert_int_equal(p.bytes, 64 * 65536);
}

/* Pauses and resumes by turns, each part; every byte comes once. */
static bool on_counted(struct http_call *call, const void *data, size_t len, void *arg) {
    struct probe *p = arg;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(((const unsigned char *)data)[i], (unsigned char)((p->bytes + (int64_t)i) % 251));
    p->bytes += (int64_t)len;
    p->parts++;
    http_call_pause(call);
    if (p->parts % 2)
        loop_call(loop, resume_later, p);
    else
        http_call_resume(call);
    return true;
}

static bool counted(struct script_server *s, int fd, const char *head) {
    (void)s;
    static unsigned char block[251 * 1000];
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (unsigned char)(i % 251);
    bool chunked = strstr(head, "/chunked") != NULL;
    if (chunked)
        script_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof(block) * 20);
    for (int i = 0; i < 20; i++) {
        if (chunked) script_say(fd, "%zx\r\n", sizeof(block));
        script_send(fd, block, sizeof(block));
        if (chunked) script_say(fd, "\r\n");
    }
    if (chunked) script_say(fd, "0\r\n\r\n");
    return true;
}

static void client_delivers_every_byte_once_over_many_pauses(void **state) {
    (void)state;
    static const struct http_call_events counted_events = {.head = on_head, .data = on_counted, .done = on_done};
    script_start(&server, counted, NULL);
    for (int i = 0; i < 2; i++) {
        struct probe p = {0};
        struct http_call_spec spec = {.method = "GET", .url = here(i ? "/chunked" : "/")};
        p.call = http_call_start(client, &spec, &counted_events, &p);
        loop_run(loop);
        assert_int_equal(p.result.code, 0);
        assert_int_equal(p.bytes, 251 * 1000 * 20);
        assert_true(p.parts > 2);
    }
    script_stop(&server);
}

/* Data, then nothing more for now: so it goes until done. */
static struct {
    int lulls, parts_at_lull;
    bool stop_at_lull;
} lull;

static bool on_lull(struct http_call *call, void *arg) {
    struct probe *p = arg;
    assert_ptr_equal(call, p->call);
    assert_int_equal(p->dones, 0);
    assert_true(p->parts > lull.parts_at_lull);
    lull.parts_at_lull = p->parts;
    lull.lulls++;
    if (!lull.stop_at_lull) return true;
    p->call = NULL;
    loop_stop(loop);
    return false;
}

static const struct http_call_events lull_events = {.head = on_head, .data = on_data, .done = on_done, .lull = on_lull};

static void client_says_when_no_more_is_at_hand(void **state) {
    (void)state;
    script_start(&server, big, NULL);
    for (int i = 0; i < 2; i++) {
        struct probe p = {0};
        memset(&lull, 0, sizeof(lull));
        lull.stop_at_lull = i == 1;
        struct http_call_spec spec = {.method = "GET", .url = here("/")};
        p.call = http_call_start(client, &spec, &lull_events, &p);
        loop_run(loop);
        assert_int_equal(p.dones, 1 - i);
        assert_int_equal(lull.parts_at_lull, p.parts);
        assert_true(lull.lulls >= 1 && (i == 0 || lull.lulls == 1));
    }
    script_stop(&server);
}

static void client_calls_may_end_resume_and_start_each_other_from_callbacks(void **state) {
    (void)state;
    script_start(&server, big, NULL);
    struct probe a = {0}, b = {0}, c = {0}, d = {0}, e = {0};
    start(&b, (struct http_call_spec){0});
    http_call_pause(b.call);
    start(&d, (struct http_call_spec){0});
    http_call_pause(d.call);
    a.cancel_other = &b;
    a.start_other = &c;
    c.resume_other = &d;
    d.start_other = &e;
    e.cancel_in_done = true;
    start(&a, (struct http_call_spec){0});
    while (!a.dones || !c.dones || !d.dones || !e.dones)
        loop_run(loop);
    assert_int_equal(b.dones, 0);
    assert_null(b.call);
    assert_int_equal(d.bytes, 64 * 65536);
    script_stop(&server);
}

static void client_ends_a_call_whose_callback_says_no(void **state) {
    (void)state;
    script_start(&server, big, NULL);
    struct probe h = {.no_head = true}, d = {.no_data = true}, after = {0};
    run(&h, (struct http_call_spec){0});
    run(&d, (struct http_call_spec){0});
    run(&after, (struct http_call_spec){0});
    script_stop(&server);
    assert_int_equal(h.dones + h.parts, 0);
    assert_int_equal(d.dones, 0);
    assert_int_equal(d.parts, 1);
    assert_int_equal(after.result.code, 0);
}

static void client_cancels_in_every_state(void **state) {
    (void)state;
    script_start(&server, stall, NULL);
    struct probe fresh = {0}, waiting = {0}, body = {.pause_in_data = true, .stop_loop = true}, bad = {0};
    start(&fresh, (struct http_call_spec){0});
    http_call_cancel(fresh.call);
    start(&bad, (struct http_call_spec){.url = "ftp://127.0.0.1/"});
    http_call_cancel(bad.call);
    start(&waiting, (struct http_call_spec){0});
    run(&body, (struct http_call_spec){.url = here("/body")});
    http_call_cancel(waiting.call);
    http_call_cancel(body.call);
    struct probe left = {0}; /* http_client_free ends it */
    start(&left, (struct http_call_spec){0});
    http_client_free(client);
    script_stop(&server);
    client = http_client_new(loop);
    assert_int_equal(fresh.dones + waiting.dones + body.dones + bad.dones + left.dones, 0);
}

static void client_refuses_unusable_urls_and_headers(void **state) {
    (void)state;
    static const char *const urls[] = {"",          "ftp://h/",         "file:///etc/passwd", "http://",
                                       "/relative", "http://u:p@host/", "http://u@host/",     "http://h:99999/"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct probe p = {0};
        run(&p, (struct http_call_spec){.url = urls[i]});
        if (p.result.code != ERR_INVALID) fail_msg("%s: %d %s", urls[i], p.result.code, p.result.msg);
    }
    struct probe p = {0};
    static const char *const headers[] = {"X-A: b\r\nX-C: d", NULL};
    run(&p, (struct http_call_spec){.url = "http://127.0.0.1:1/", .headers = headers});
    assert_int_equal(p.result.code, ERR_INVALID);
}

static void client_needs_no_authority_for_plain_http(void **state) {
    (void)state;
    struct probe p = canned("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (struct http_call_spec){.ca_file = "/tmp"});
    assert_int_equal(p.result.code, 0);
    assert_int_equal(p.result.status, 200);
}

static bool echo(struct script_server *s, int fd, const char *head) {
    (void)s;
    char length[32], auth[128], id[64], encoding[64], body[64] = "";
    size_t n = (size_t)atoi(script_header(head, "Content-Length", length, sizeof(length)));
    if (n && recv(fd, body, n < sizeof(body) - 1 ? n : sizeof(body) - 1, MSG_WAITALL) < 0) return false;
    char text[512];
    int len = snprintf(text, sizeof(text), "%.*s|%s|%s|%s|%s", (int)strcspn(head, "\r"), head,
                       script_header(head, "Authorization", auth, sizeof(auth)),
                       script_header(head, "X-Request-Id", id, sizeof(id)),
                       script_header(head, "Accept-Encoding", encoding, sizeof(encoding)), body);
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len, text);
    return true;
}

static void client_sends_what_it_was_asked_to(void **state) {
    (void)state;
    static const char *const headers[] = {"X-Request-Id: 42", NULL};
    script_start(&server, echo, NULL);
    struct probe p = {0};
    run(&p, (struct http_call_spec){.method = "POST",
                                    .url = here("/a?b=c"),
                                    .headers = headers,
                                    .body = "hello",
                                    .body_len = 5,
                                    .username = "user",
                                    .password = "pass"});
    script_stop(&server);
    assert_string_equal(p.body, "POST /a?b=c HTTP/1.1|Basic dXNlcjpwYXNz|42|identity|hello");
}

static void client_speaks_over_a_unix_socket(void **state) {
    (void)state;
    char dir[] = "/tmp/entrepot-client-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/sock", dir);
    script_start_unix(&server, echo, path);
    struct probe p = {0};
    run(&p, (struct http_call_spec){.url = "http://daemon/status", .unix_socket = path});
    script_stop(&server);
    unlink(path);
    rmdir(dir);
    assert_non_null(strstr(p.body, "GET /status HTTP/1.1"));
}

static void client_refuses_addresses_the_other_side_may_not_name(void **state) {
    (void)state;
    script_start(&server, keep_alive, NULL);
    struct probe any = {0};
    run(&any, (struct http_call_spec){.url = here("/")}); /* leaves an open connection behind */
    assert_int_equal(any.result.code, 0);
    char named[64];
    snprintf(named, sizeof(named), "http://localhost:%u/", server.port);
    const char *urls[] = {url,
                          named,
                          "http://169.254.169.254/latest",
                          "http://[::1]:1/",
                          "http://2130706433/",
                          "http://[::ffff:10.0.0.1]/"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct probe p = {0};
        run(&p, (struct http_call_spec){.url = urls[i], .reach = HTTP_REACH_PUBLIC});
        if (p.result.code != ERR_DENIED) fail_msg("%s: %d %s", urls[i], p.result.code, p.result.msg);
    }
    script_stop(&server);
    assert_int_equal(atomic_load(&server.requests), 1);
}

static void calls_in_turn_share_a_connection_in_their_order(void **state) {
    (void)state;
    struct probe p[3] = {0};
    script_start(&server, echo, NULL);
    for (int i = 0; i < 3; i++) {
        snprintf(url, sizeof(url), "http://127.0.0.1:%u/%d", server.port, i);
        p[i].call = http_call_start(client, &(struct http_call_spec){.method = "GET", .url = url, .in_turn = true},
                                    &events, &p[i]);
    }
    for (int i = 0; i < 3; i++) {
        loop_run(loop);
        for (int k = 0; k < 3; k++)
            assert_int_equal(p[k].dones, k <= i);
    }
    assert_non_null(strstr(p[2].body, "GET /2 HTTP/1.1"));
    script_stop(&server);
    assert_int_equal(atomic_load(&server.connections), 1);
}

static bool never(struct script_server *s, int fd, const char *head) {
    (void)s, (void)head;
    script_wait_closed(fd);
    return false;
}

static void call_whose_turn_does_not_come_is_sent_all_the_same(void **state) {
    (void)state;
    struct probe first = {0}, second = {0};
    script_start(&server, never, NULL);
    start(&first, (struct http_call_spec){.in_turn = true});
    start(&second, (struct http_call_spec){.in_turn = true, .head_ms = 100});
    loop_run(loop);
    assert_int_equal(first.dones, 0);
    assert_int_equal(second.result.code, ERR_TIMEOUT);
    http_call_cancel(first.call);
    script_stop(&server);
    assert_int_equal(atomic_load(&server.requests), 2);
}

static void client_goes_through_the_proxy_of_the_environment(void **state) {
    (void)state;
    script_start(&server, echo, NULL);
    setenv("http_proxy", here(""), 1);
    struct probe by = {0}, unused = {0}, denied = {0}, local = {0};
    run(&by, (struct http_call_spec){
                 .url = "http://registry.example/v2/", .use_proxy_env = true, .reach = HTTP_REACH_PUBLIC});
    assert_non_null(strstr(by.body, "GET http://registry.example/v2/ HTTP/1.1"));
    run(&denied, (struct http_call_spec){.url = "http://10.0.0.1/", .use_proxy_env = true, .reach = HTTP_REACH_PUBLIC});
    assert_int_equal(denied.result.code, ERR_DENIED);
    run(&local, (struct http_call_spec){.url = "http://localhost/", .use_proxy_env = true, .reach = HTTP_REACH_PUBLIC});
    assert_int_equal(local.result.code, ERR_DENIED);
    run(&unused, (struct http_call_spec){.url = here("/direct")});
    assert_non_null(strstr(unused.body, "GET /direct HTTP/1.1"));
    unsetenv("http_proxy");
    script_stop(&server);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(client_reports_status_headers_and_body),
        T(client_takes_no_body_for_head),
        T(client_never_follows_a_redirect),
        T(client_does_not_decode_a_content_encoding),
        T(client_tells_broken_answers_apart),
        T(client_bounds_the_head),
        T(client_says_that_a_line_of_the_head_is_too_long),
        T(client_names_place_and_cause_when_it_cannot_connect),
        T(client_names_a_handshake_that_hangs),
        T(client_limits_head_stall_and_total_time),
        T(client_uses_a_connection_again),
        T(client_gives_no_data_while_paused_and_counts_no_stall),
        T(client_pauses_before_the_head_too),
        T(client_delivers_every_byte_once_over_many_pauses),
        T(client_says_when_no_more_is_at_hand),
        T(client_calls_may_end_resume_and_start_each_other_from_callbacks),
        T(client_ends_a_call_whose_callback_says_no),
        T(client_cancels_in_every_state),
        T(client_refuses_unusable_urls_and_headers),
        T(client_needs_no_authority_for_plain_http),
        T(client_sends_what_it_was_asked_to),
        T(client_speaks_over_a_unix_socket),
        T(client_refuses_addresses_the_other_side_may_not_name),
        T(calls_in_turn_share_a_connection_in_their_order),
        T(call_whose_turn_does_not_come_is_sent_all_the_same),
        T(client_goes_through_the_proxy_of_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
