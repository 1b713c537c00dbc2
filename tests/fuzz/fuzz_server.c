/* A whole connection: what a client sends, cut as the first byte says, to a server whose handlers collect, refuse,
 * pause and abort. Every request that reached its handler is closed once, and the connection ends. */
#include "common/http/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HANG_MS 8000

static struct loop *loop;
static struct http_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static long opened, closed;

/* --- the server's side --- */

static void on_close(struct http_req *r, bool cut) {
    (void)cut;
    (void)r;
    closed++;
}

static void on_collected(struct http_req *r, const char *body, size_t len) {
    http_reply(r, 200, "text/plain", body, len);
}

/* Takes a little, and more when the loop comes round. */
struct sip {
    struct loop_task task;
    struct http_req *req; /* NULL: gone */
    bool waits;
};

static void sip_on(struct loop_task *task) {
    struct sip *s = container_of(task, struct sip, task);
    s->waits = false;
    if (s->req)
        http_req_resume_body(s->req);
    else
        free(s);
}

static size_t sip_data(struct http_req *r, const void *data, size_t len) {
    struct sip *s = http_req_user(r);
    (void)data;
    if (len <= 7) return len;
    if (!s->waits) loop_post(loop, &s->task);
    s->waits = true;
    return len / 2;
}

static void sip_end(struct http_req *r) {
    http_reply(r, 201, NULL, NULL, 0);
}

static void sip_close(struct http_req *r, bool cut) {
    struct sip *s = http_req_user(r);
    on_close(r, cut);
    s->req = NULL;
    if (!s->waits) free(s);
}

static void sip_from(struct http_req *r) {
    static const struct http_body_sink sink = {sip_data, sip_end};
    struct sip *s = calloc(1, sizeof(*s));
    assert(s);
    s->req = r;
    s->task.fn = sip_on;
    http_req_set_user(r, s);
    http_req_on_close(r, sip_close);
    http_req_read_body(r, &sink, 100000);
}

static void stream(struct http_req *r, int64_t promised, int64_t given) {
    static char block[20000];
    http_reply_begin(r, 200, "text/plain", promised);
    for (int64_t n; given > 0; given -= n) {
        n = given < (int64_t)sizeof(block) ? given : (int64_t)sizeof(block);
        http_body_mem(r, block, (size_t)n);
    }
    http_reply_end(r);
}

static void handle(struct http_req *r, void *arg) {
    (void)arg;
    const char *target = http_req_target(r);
    opened++;
    http_req_on_close(r, on_close);
    assert(!http_req_header(r, "transfer-encoding") || !http_req_header(r, "content-length"));
    switch (target[0] ? target[1] : 0) {
    case 'c':
        http_req_collect_body(r, 5000, on_collected);
        return;
    case 's':
        sip_from(r);
        return;
    case 'l':
        stream(r, 100000, 100000);
        return;
    case 'k':
        stream(r, -1, 30000);
        return;
    case 'w':
        stream(r, 1000, target[2] == 'm' ? 2000 : 500);
        return;
    case 'a':
        http_reply_abort(r);
        return;
    default:
        http_reply_header(r, "X-Echo", http_req_header(r, "user-agent") ? http_req_header(r, "user-agent") : "");
        http_reply(r, 200, "text/plain", "hello", 5);
    }
}

/* --- the client's --- */

struct client {
    int fd;
    struct event *ev;
    const uint8_t *data;
    size_t left, step;
};

static void hung(void *arg) {
    (void)arg;
    fprintf(stderr, "the connection does not end\n");
    abort();
}

static void look_if_gone(void *arg) {
    struct http_stats st;
    http_server_stats(server, &st);
    if (st.connections == 0)
        loop_stop(loop);
    else
        timer_set(arg, 0);
}

static void on_client(evutil_socket_t fd, short what, void *arg) {
    struct client *c = arg;
    static char buf[65536];
    (void)what;
    loop_enter(loop);
    if (c->left) {
        size_t n = c->left < c->step ? c->left : c->step;
        ssize_t k = send((int)fd, c->data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && errno != EAGAIN) c->left = 0;
        if (k > 0) {
            c->data += k;
            c->left -= (size_t)k;
        }
        if (c->left == 0) shutdown((int)fd, SHUT_WR);
    }
    ssize_t k = recv((int)fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (k > 0 || (k < 0 && errno == EAGAIN)) {
        /* While there is something to say, it is said as fast as it is taken; then only what comes is heard. */
        event_del(c->ev);
        event_assign(c->ev, loop_base(loop), fd, (short)(EV_READ | EV_PERSIST | (c->left ? EV_WRITE : 0)), on_client,
                     c);
        event_add(c->ev, NULL);
        return;
    }
    loop_stop(loop);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    static char where[120];
    snprintf(where, sizeof(where), "unix:/tmp/entrepot-fuzz-%ld.sock", (long)getpid());
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", where + 5);
    loop = loop_new("fuzz");
    struct error err;
    struct http_server_config cfg = {.address = where, .loops = &loop, .n_loops = 1, .handler = handle};
    http_limits_default(&cfg.limits);
    if (http_server_new(&server, &cfg, &err) < 0) abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 200000) return 0;
    struct client c = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                       .data = data + 1,
                       .left = size - 1,
                       .step = data[0] ? data[0] * (size_t)8 : size};
    assert(c.fd >= 0 && connect(c.fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    struct timer watchdog;
    timer_init(&watchdog, loop, hung, NULL);
    timer_set(&watchdog, HANG_MS);
    c.ev = event_new(loop_base(loop), c.fd, EV_READ | EV_WRITE | EV_PERSIST, on_client, &c);
    event_add(c.ev, NULL);
    loop_run(loop);
    event_free(c.ev);
    close(c.fd);
    /* The server sees the end, and what waits for its turn has it. */
    struct timer look;
    timer_init(&look, loop, look_if_gone, &look);
    timer_set(&look, 0);
    loop_run(loop);
    timer_fini(&look);
    timer_fini(&watchdog);
    assert(opened == closed);
    return 0;
}
