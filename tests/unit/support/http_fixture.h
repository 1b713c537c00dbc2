/* A server on its own loops with a handler that answers by target, and raw sockets to talk to it. For the server's unit
 * tests. Thread: the test's, but for the handler. */
#ifndef ENTREPOT_TESTS_HTTP_FIXTURE_H
#define ENTREPOT_TESTS_HTTP_FIXTURE_H

#include "common/core/workpool.h"
#include "common/core/clock.h"
#include "common/http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define BIG ((size_t)3 * 1024 * 1024)
#define LOOPS_MAX 4

/* What the handler saw; atomics, for the test's thread looks on. */
struct seen {
    atomic_int handled, closed, cut, released, paused;
    atomic_llong body_sent;
    atomic_int accesses;
};

struct fixture {
    struct loop *loops[LOOPS_MAX];
    unsigned n_loops;
    struct http_server *server;
    struct http_server_config cfg;
    struct open_file *file; /* BIG bytes of the pattern */
    struct seen seen;
    atomic_bool drained;
    char address[128];
};

static char pattern[BIG];
static struct fixture *fx; /* the handler's; set before the loops start */

/* --- the handler --- */

static void on_close(struct http_req *r, bool cut) {
    free(http_req_user(r));
    atomic_fetch_add(&fx->seen.closed, 1);
    if (cut) atomic_fetch_add(&fx->seen.cut, 1);
}

static void count_release(void *arg) {
    (void)arg;
    atomic_fetch_add(&fx->seen.released, 1);
}

static void reply_text(struct http_req *r, const char *text) {
    http_reply(r, 200, "text/plain", text, strlen(text));
}

/* A request that is answered from the loop, unless its client left before. */
struct later {
    struct http_req *req;
};

static void answer_later(void *arg) {
    struct later *l = arg;
    if (l->req) {
        http_req_set_user(l->req, NULL);
        reply_text(l->req, "later");
    }
    free(l);
}

static void on_later_close(struct http_req *r, bool cut) {
    struct later *l = http_req_user(r);
    if (l) l->req = NULL;
    http_req_set_user(r, NULL);
    on_close(r, cut);
}

static void later(struct http_req *r) {
    struct later *l = calloc(1, sizeof(*l));
    l->req = r;
    http_req_set_user(r, l);
    http_req_on_close(r, on_later_close);
    loop_call(http_req_loop(r), answer_later, l);
}

static void on_collected(struct http_req *r, const char *body, size_t len) {
    http_reply(r, 200, "text/plain", body, len);
}

/* Takes at most 1,000 bytes at a time, and pauses after each. The strings of the head must not move meanwhile. */
struct slow {
    const char *target;
    size_t got;
    bool wrong;
};

static void resume(void *arg) {
    http_req_resume_body(arg);
}

static size_t slow_data(struct http_req *r, const void *data, size_t len) {
    struct slow *s = http_req_user(r);
    size_t n = len < 1000 ? len : 1000;
    for (size_t i = 0; i < n; i++)
        s->wrong |= ((const char *)data)[i] != pattern[s->got + i];
    s->got += n;
    if (n < len) {
        atomic_fetch_add(&fx->seen.paused, 1);
        loop_call(http_req_loop(r), resume, r);
    }
    return n;
}

static void slow_end(struct http_req *r) {
    struct slow *s = http_req_user(r);
    char text[128];
    snprintf(text, sizeof(text), "%s %zu %s", s->target, s->got, s->wrong ? "wrong" : "right");
    reply_text(r, text);
}

static void read_slowly(struct http_req *r) {
    static const struct http_body_sink sink = {slow_data, slow_end};
    struct slow *s = calloc(1, sizeof(*s));
    s->target = http_req_target(r);
    http_req_set_user(r, s);
    http_req_read_body(r, &sink, BIG);
}

static size_t drop_data(struct http_req *r, const void *data, size_t len) {
    (void)data;
    http_reply_abort(r);
    return len / 2;
}

static void abort_in_body(struct http_req *r) {
    static const struct http_body_sink sink = {drop_data, slow_end};
    http_req_read_body(r, &sink, BIG);
}

/* Sends the file in parts of 64 KiB, each when the former has left. */
struct parts {
    int64_t at;
};

static void next_part(struct http_req *r) {
    struct parts *p = http_req_user(r);
    http_body_file(r, fx->file, p->at, 65536);
    p->at += 65536;
    if (p->at == (int64_t)BIG)
        http_reply_end(r);
    else
        http_body_on_drain(r, 32768, next_part);
}

static void in_parts(struct http_req *r) {
    http_req_set_user(r, calloc(1, sizeof(struct parts)));
    http_reply_begin(r, 200, "application/octet-stream", (int64_t)BIG);
    next_part(r);
}

static void streamed(struct http_req *r, int64_t promised, size_t given, bool end) {
    http_reply_begin(r, 200, "text/plain", promised);
    http_body_mem(r, pattern, given);
    if (end)
        http_reply_end(r);
    else
        http_reply_abort(r);
}

static void rendered(struct http_req *r) {
    static const char lines[] = "X-First: 1\r\nX-Second: 2\r\n";
    http_reply_lines(r, lines, sizeof(lines) - 1);
    http_reply_ref(r, 200, "text/plain", "rendered", 8, count_release, NULL);
}

static void whole_file(struct http_req *r, int64_t len) {
    http_reply_begin(r, 200, "application/octet-stream", len);
    http_body_file(r, fx->file, 0, len);
    http_reply_end(r);
}

static void in_chunks(struct http_req *r) {
    http_reply_begin(r, 200, "text/plain", -1);
    http_body_mem(r, "hello, ", 7);
    http_body_file(r, fx->file, 0, 20);
    http_reply_end(r);
}

static void split_header(struct http_req *r) {
    http_reply_header(r, "X-Split", "a\r\nX-Evil: 1");
    reply_text(r, "");
}

static void echo_header(struct http_req *r) {
    const char *accept = http_req_header(r, "accept");
    reply_text(r, accept ? accept : "none");
}

static void big(struct http_req *r) {
    http_reply_ref(r, 200, "text/plain", pattern, BIG, count_release, NULL);
}

static void handler(struct http_req *r, void *arg) {
    (void)arg;
    const char *t = http_req_target(r);
    http_req_on_close(r, on_close);
    atomic_fetch_add(&fx->seen.handled, 1);
    if (strcmp(t, "/hello") == 0)
        reply_text(r, "hello");
    else if (strcmp(t, "/later") == 0)
        later(r);
    else if (strcmp(t, "/echo") == 0)
        http_req_collect_body(r, 100000, on_collected);
    else if (strcmp(t, "/slow") == 0)
        read_slowly(r);
    else if (strcmp(t, "/abort-in-body") == 0)
        abort_in_body(r);
    else if (strcmp(t, "/big") == 0)
        big(r);
    else if (strcmp(t, "/file") == 0)
        whole_file(r, (int64_t)BIG);
    else if (strcmp(t, "/file-too-short") == 0)
        whole_file(r, (int64_t)BIG + 1000);
    else if (strcmp(t, "/parts") == 0)
        in_parts(r);
    else if (strcmp(t, "/chunks") == 0)
        in_chunks(r);
    else if (strcmp(t, "/short") == 0)
        streamed(r, 100, 50, true);
    else if (strcmp(t, "/long") == 0)
        streamed(r, 50, 100, true);
    else if (strcmp(t, "/abort") == 0)
        streamed(r, 100, 50, false);
    else if (strcmp(t, "/abort-unsized") == 0)
        streamed(r, -1, 50, false);
    else if (strcmp(t, "/abort-early") == 0)
        http_reply_abort(r);
    else if (strcmp(t, "/rendered") == 0)
        rendered(r);
    else if (strcmp(t, "/split") == 0)
        split_header(r);
    else if (strcmp(t, "/accept") == 0)
        echo_header(r);
    else if (strcmp(t, "/never") == 0)
        return;
    else
        http_reply(r, 404, "text/plain", "no\n", 3);
}

static void on_access(const struct http_access *a, void *arg) {
    (void)arg;
    atomic_fetch_add(&fx->seen.accesses, 1);
    atomic_fetch_add(&fx->seen.body_sent, a->body_bytes_sent);
}

/* --- its life --- */

static void make_pattern(struct fixture *f) {
    for (size_t i = 0; i < BIG; i++)
        pattern[i] = (char)(i * 31 + i / 251);
    FILE *tmp = tmpfile();
    assert_non_null(tmp);
    assert_int_equal(fwrite(pattern, 1, BIG, tmp), BIG);
    assert_int_equal(fflush(tmp), 0);
    f->file = open_file_new(dup(fileno(tmp)));
    fclose(tmp);
}

/* Fills f->cfg with what most tests want; change it, then fixture_start. */
static void fixture_init(struct fixture *f, unsigned n_loops) {
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    memset(f, 0, sizeof(*f));
    fx = f;
    f->n_loops = n_loops;
    make_pattern(f);
    for (unsigned i = 0; i < n_loops; i++)
        f->loops[i] = loop_new("test");
    f->cfg = (struct http_server_config){
        .address = "127.0.0.1:0", .loops = f->loops, .n_loops = n_loops, .handler = handler, .access = on_access};
    http_limits_default(&f->cfg.limits);
}

static void fixture_start(struct fixture *f) {
    struct error err = {0};
    if (http_server_new(&f->server, &f->cfg, &err) != 0) fail_msg("%s", err.msg);
    for (unsigned i = 0; i < f->n_loops; i++)
        loop_start(f->loops[i]);
}

static void on_drained(void *arg) {
    atomic_store(&((struct fixture *)arg)->drained, true);
}

/* Waits for a condition the other threads bring about. */
#define WAIT_FOR(cond)                                                  \
    for (int64_t until = clock_mono_ms() + 20000; !(cond); usleep(500)) \
    assert_true(clock_mono_ms() < until)

static void fixture_stop(struct fixture *f, int64_t grace_ms) {
    http_server_drain(f->server, grace_ms, on_drained, f);
    WAIT_FOR(atomic_load(&f->drained));
    http_server_free(f->server);
    for (unsigned i = 0; i < f->n_loops; i++) {
        loop_stop(f->loops[i]);
        loop_join(f->loops[i]);
        if (f->cfg.reads) workpool_wait_idle(f->cfg.reads); /* what it still has for the loop is run with it */
        loop_free(f->loops[i]);
    }
    open_file_unref(f->file);
    assert_int_equal(atomic_load(&f->seen.closed), atomic_load(&f->seen.handled));
}

/* --- raw clients --- */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define LAST(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static int dial(struct fixture *f) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(f->server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void _unused_ say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until len bytes or the end; the length got, cut at a reset. NUL-terminates. */
static size_t hear(int fd, char *buf, size_t len) {
    size_t got = 0;
    while (got < len) {
        ssize_t n = recv(fd, buf + got, len - got, 0);
        if (n <= 0) break;
        got += (size_t)n;
    }
    buf[got] = '\0';
    return got;
}

/* One answer with a Content-Length; false at the end of the connection. The body's length in *len. */
static bool _unused_ hear_answer(int fd, char *head, size_t cap, char *body, size_t *len) {
    size_t n = 0;
    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        if (n + 1 >= cap || recv(fd, head + n, 1, 0) != 1) return false;
        n++;
    }
    head[n] = '\0';
    const char *at = strcasestr(head, "\r\ncontent-length: ");
    size_t want = at ? strtoul(at + 18, NULL, 10) : 0;
    *len = hear(fd, body, want);
    return *len == want;
}

/* All that comes back to text until the connection ends. */
static size_t _unused_ exchange(const char *text, char *out, size_t cap) {
    int fd = dial(fx);
    say(fd, text);
    size_t n = hear(fd, out, cap - 1);
    close(fd);
    return n;
}

static _unused_ const char *body_of(const char *answer) {
    const char *at = strstr(answer, "\r\n\r\n");
    assert_non_null(at);
    return at + 4;
}

#endif
