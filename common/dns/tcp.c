/* A connection is closed when it has asked nothing for a while, be it that it sends nothing, a query byte by byte, or
 * does not read its answers; and the one that was idle longest when there are too many. Thread: as tcp.h says. */
#include "common/dns/tcp.h"

#include "common/dns/socket.h"
#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
    IDLE_MS = 10000,
    LOOK_MS = 1000,
    MESSAGE_MAX = 4096,   /* a longer message is no query that anyone sends */
    OUT_HIGH = 64 * 1024, /* no more is read while so many bytes of answers wait */
    ACCEPT_AT_ONCE = 32,
};

struct conn {
    struct dns_tcp *tcp;
    struct conn *older, *newer; /* by the time of the last query */
    int fd;
    struct event *readable, *writable;
    struct ip ip, client; /* client: the address by which it is counted */
    int64_t last_ms;
    size_t in_len;
    size_t sent; /* of out */
    struct buf out;
    bool ended; /* the client sends no more */
    uint8_t in[2 + MESSAGE_MAX];
};

struct dns_tcp {
    struct loop *loop;
    int fd;
    unsigned most, seat;
    struct dns_views *views;
    struct event *accepts;
    struct timer look;
    struct conn *oldest, *newest;
    atomic_uint n;
    struct dns_context context;
    struct dns_tally tally;
    uint8_t answer[2 + DNS_TCP_MAX];
};

/* --- the list of connections --- */

static void unlink_conn(struct conn *c) {
    struct dns_tcp *t = c->tcp;
    *(c->older ? &c->older->newer : &t->oldest) = c->newer;
    *(c->newer ? &c->newer->older : &t->newest) = c->older;
    c->older = c->newer = NULL;
}

static void link_newest(struct conn *c) {
    struct dns_tcp *t = c->tcp;
    c->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = c;
    t->newest = c;
    c->last_ms = clock_mono_ms();
}

static void conn_free(struct conn *c) {
    unlink_conn(c);
    atomic_fetch_sub(&c->tcp->n, 1);
    event_free(c->readable);
    event_free(c->writable);
    close(c->fd);
    buf_fini(&c->out);
    free(c);
}

static unsigned count_of(const struct dns_tcp *t, const struct ip *client) {
    unsigned n = 0;
    for (const struct conn *c = t->oldest; c; c = c->newer)
        n += memcmp(&c->client, client, sizeof(*client)) == 0;
    return n;
}

/* --- answers --- */

/* Sends what waits. False: the connection is gone. */
static bool flush(struct conn *c) {
    while (c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) return false;
        c->sent += (size_t)n;
    }
    bool left = c->sent < c->out.len;
    if (!left) {
        buf_clear(&c->out);
        c->sent = 0;
    }
    if (left)
        event_add(c->writable, NULL);
    else
        event_del(c->writable);
    return true;
}

/* Gives back the room of what is sent, so that a slow reader is not mistaken for one who has asked for too much. */
static void drop_sent(struct conn *c) {
    if (c->sent == 0) return;
    memmove(c->out.data, c->out.data + c->sent, c->out.len - c->sent);
    c->out.len -= c->sent;
    c->sent = 0;
}

/* Answers one message. False: no room, which OUT_HIGH rules out, or what came is no query. */
static bool answer(struct conn *c, const struct dns_view *v, const uint8_t *in, size_t len) {
    struct dns_tcp *t = c->tcp;
    size_t n = dns_answer(&t->context, v, &c->ip, true, in, len, t->answer + 2, DNS_TCP_MAX);
    if (n == 0) return false;
    dns_put16(t->answer, (unsigned)n);
    return buf_add(&c->out, t->answer, n + 2) == 0;
}

/* Answers the whole messages that are here. False: the connection is to be closed. */
static bool answer_all(struct conn *c) {
    struct dns_tcp *t = c->tcp;
    size_t at = 0;
    bool good = true, any = false;
    t->context.now_ms = clock_mono_ms();
    t->context.now_s = (uint32_t)clock_wall_s();
    drop_sent(c);
    const struct dns_view *v = dns_views_enter(t->views, t->seat);
    while (good && c->in_len - at >= 2 && c->out.len - c->sent < OUT_HIGH) {
        size_t len = dns_get16(c->in + at);
        if (len > MESSAGE_MAX) good = false;
        if (!good || c->in_len - at - 2 < len) break;
        good = answer(c, v, c->in + at + 2, len);
        at += 2 + len;
        any = true;
    }
    dns_views_leave(t->views, t->seat);
    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);
    if (!good || !any) return good;
    unlink_conn(c);
    link_newest(c);
    return true;
}

/* Reading goes on unless too much waits to be sent, or nothing more comes. */
static void go_on(struct conn *c) {
    bool good = true;
    for (size_t before = c->in_len + 1; good && c->in_len < before && c->out.len - c->sent < OUT_HIGH;) {
        before = c->in_len;
        good = answer_all(c) && flush(c);
    }
    if (!good || (c->ended && c->out.len == 0)) {
        conn_free(c);
        return;
    }
    if (c->ended || c->out.len - c->sent >= OUT_HIGH)
        event_del(c->readable);
    else
        event_add(c->readable, NULL);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct conn *c = arg;
    loop_enter(c->tcp->loop);
    ssize_t n = recv(fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) {
        conn_free(c);
        return;
    }
    c->ended = n == 0;
    c->in_len += (size_t)n;
    go_on(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct conn *c = arg;
    loop_enter(c->tcp->loop);
    if (flush(c))
        go_on(c);
    else
        conn_free(c);
}

/* --- accepting --- */

static void conn_make(struct dns_tcp *t, int fd, const struct ip *ip) {
    struct conn *c = xcalloc(1, sizeof(*c));
    c->tcp = t;
    c->fd = fd;
    c->ip = *ip;
    c->client = ip_client_prefix(ip);
    buf_init(&c->out, 2 * OUT_HIGH);
    c->readable = event_new(loop_base(t->loop), fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(loop_base(t->loop), fd, EV_WRITE | EV_PERSIST, on_writable, c);
    if (!c->readable || !c->writable) out_of_memory();
    link_newest(c);
    atomic_fetch_add(&t->n, 1);
    event_add(c->readable, NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct dns_tcp *t = arg;
    loop_enter(t->loop);
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        union dns_address_any from;
        socklen_t len = sizeof(from);
        struct ip ip;
        int conn = accept4(fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (conn < 0 && (errno == EMFILE || errno == ENFILE) && t->oldest) conn_free(t->oldest);
        if (conn < 0) return;
        dns_address_ip(&from, &ip);
        /* One client has at most half of the connections, so that it cannot close all others'. */
        struct ip client = ip_client_prefix(&ip);
        if (count_of(t, &client) >= t->most / 2) {
            close(conn);
            continue;
        }
        if (atomic_load(&t->n) >= t->most) conn_free(t->oldest);
        conn_make(t, conn, &ip);
    }
}

static void on_look(void *arg) {
    struct dns_tcp *t = arg;
    int64_t now_ms = clock_mono_ms();
    while (t->oldest && now_ms - t->oldest->last_ms >= IDLE_MS)
        conn_free(t->oldest);
    timer_set(&t->look, LOOK_MS);
}

/* --- life --- */

struct dns_tcp *dns_tcp_new(struct loop *loop, int fd, unsigned connections, unsigned seat, struct dns_views *views) {
    struct dns_tcp *t = xcalloc(1, sizeof(*t));
    t->loop = loop;
    t->fd = fd;
    t->most = connections;
    t->seat = seat;
    t->views = views;
    t->context = (struct dns_context){.tally = &t->tally};
    timer_init(&t->look, loop, on_look, t);
    return t;
}

void dns_tcp_start(struct dns_tcp *t) {
    t->accepts = event_new(loop_base(t->loop), t->fd, EV_READ | EV_PERSIST, on_accept, t);
    if (!t->accepts) out_of_memory();
    event_add(t->accepts, NULL);
    timer_set(&t->look, LOOK_MS);
}

void dns_tcp_free(struct dns_tcp *t) {
    if (!t) return;
    while (t->oldest)
        conn_free(t->oldest);
    if (t->accepts) event_free(t->accepts);
    timer_fini(&t->look);
    close(t->fd);
    free(t);
}

const struct dns_tally *dns_tcp_tally(const struct dns_tcp *t) {
    return &t->tally;
}

unsigned dns_tcp_connections(const struct dns_tcp *t) {
    return atomic_load(&t->n);
}
