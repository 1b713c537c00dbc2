/* A connection and the life of its requests. Thread: its serving loop.
 *
 *   TLS ─▶ IDLE ⇄ HEAD ─▶ BUSY ─▶ IDLE (keep-alive) | LINGER (answered, closing) ─▶ DEAD
 *     └────────┴───────┴────────┴─ errors, time-outs, cuts ──────────────────────────┘
 *
 * In BUSY, bytes of the next request are read until the input buffer is full. They are parsed once the answer has been
 * sent. */
#include "common/http/server_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* --- small state changes --- */

void conn_set_state(struct http_conn *c, enum conn_state state) {
    bool idle = state == CONN_IDLE || state == CONN_HEAD || state == CONN_TLS;
    if (c->in_idle && (!idle || state != c->state)) {
        TAILQ_REMOVE(&c->share->idle, c, idle_link);
        c->in_idle = false;
    }
    if (idle && !c->in_idle) {
        TAILQ_INSERT_TAIL(&c->share->idle, c, idle_link);
        c->in_idle = true;
    }
    if (state != c->state) c->since_ms = c->share->now_ms;
    c->state = state;
}

void conn_arm_in(struct http_conn *c, bool on) {
    if (on == c->in_armed) return;
    c->in_armed = on;
    if (c->young) return; /* conn_new adds the event later */
    if (on)
        event_add(&c->ev_in, NULL);
    else
        event_del(&c->ev_in);
}

void conn_arm_out(struct http_conn *c, bool on) {
    if (on == c->out_armed) return;
    c->out_armed = on;
    if (on)
        event_add(&c->ev_out, NULL);
    else
        event_del(&c->ev_out);
}

/* The request is over: it is reported, its handler is told, and it is freed. */
static void close_request(struct http_conn *c, bool cut) {
    struct http_req *r = c->req;
    if (!r) return;
    c->req = NULL;
    void (*on_close)(struct http_req *, bool) = r->on_close;
    r->on_close = NULL;
    if (r->wrong_size) cut = true;
    req_report(r, cut);
    if (on_close) on_close(r, cut);
    req_free(c->share, r);
}

/* --- the end of a connection --- */

void conn_abort(struct http_conn *c) {
    if (c->state == CONN_DEAD) return;
    conn_set_state(c, CONN_DEAD);
    conn_arm_in(c, false);
    conn_arm_out(c, false);
    if (c->dirty) TAILQ_REMOVE(&c->share->dirty, c, dirty_link);
    c->dirty = false;
    /* If the body ends where the connection ends, only a reset tells the client that the body is cut short (RFC 9112
     * section 8). */
    struct http_req *r = c->req;
    if (r && r->reply != REPLY_NONE && r->promised < 0 && !r->chunked_out) {
        struct linger reset = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    close_request(c, true);
    reply_drop_queue(c);
    TAILQ_REMOVE(&c->share->all, c, all_link);
    c->share->n_all--;
    TAILQ_INSERT_TAIL(&c->share->dead, c, all_link);
    if (c->ssl) SSL_free(c->ssl);
    c->ssl = NULL;
    closep(&c->passed);
    close(c->fd);
    c->passed = c->fd = -1;
    if (!c->share->frees_dead) loop_post_last(c->share->loop, &c->share->flush);
    share_conn_closed(c);
    const struct http_peers *peers = c->share->server->cfg.peers;
    if (c->peer) peers->leave(c->peer, peers->arg);
    c->peer = NULL;
}

void conn_free_dead(struct loop_share *sh) {
    sh->frees_dead = false;
    struct http_conn *c;
    while ((c = TAILQ_FIRST(&sh->dead))) {
        TAILQ_REMOVE(&sh->dead, c, all_link);
        free(c->in);
        free(c);
    }
}

/* The last answer has been sent: shuts down for writing, and reads and drops what still comes in. Closing with unread
 * bytes would send a reset, which could destroy the answer on its way. */
static void linger(struct http_conn *c) {
    if (c->ssl) SSL_shutdown(c->ssl);
    if (c->peer_closed || shutdown(c->fd, SHUT_WR) < 0) {
        conn_abort(c);
        return;
    }
    conn_set_state(c, CONN_LINGER);
    c->linger_left = LINGER_BYTES;
    conn_arm_out(c, false);
    conn_arm_in(c, true);
}

/* --- reading --- */

ssize_t conn_recv(struct http_conn *c, void *buf, size_t len) {
    if (c->is_unix) return conn_recv_unix(c, buf, len);
    if (!c->ssl) {
        ssize_t n = recv(c->fd, buf, len, 0);
        return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
    }
    tls_forget_errors();
    int n = SSL_read(c->ssl, buf, len > INT32_MAX ? INT32_MAX : (int)len);
    if (n > 0) return n;
    int e = SSL_get_error(c->ssl, n);
    if (e == SSL_ERROR_WANT_READ) return -EAGAIN;
    if (e == SSL_ERROR_WANT_WRITE) {
        c->tls_wants_write = true;
        conn_arm_out(c, true);
        return -EAGAIN;
    }
    return e == SSL_ERROR_ZERO_RETURN ? 0 : -ECONNRESET;
}

/* Room for more of the head; false when the limit is reached. */
static bool grow_input(struct http_conn *c) {
    if (c->in_len < c->in_cap) return true;
    size_t limit = c->share->server->cfg.limits.head_bytes;
    if (c->req || c->in_cap >= limit) return false; /* a request holds pointers into it */
    size_t cap = c->in_cap ? c->in_cap * 2 : c->peer ? IN_FIRST_PEER : IN_FIRST;
    if (cap > limit) cap = limit;
    char *in = xrealloc(c->in, cap + 1, 1);
    c->in = in;
    c->in_cap = cap;
    return true;
}

static void drop_consumed(struct http_conn *c) {
    if (c->in_pos == 0) return;
    memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
    c->in_len -= c->in_pos;
    c->in_pos = 0;
    c->scanned = 0;
}

/* Bytes of the next request that were read along with a body. */
static void add_input(struct http_conn *c, const char *data, size_t len) {
    if (c->in_len + len > c->in_cap) {
        char *in = xrealloc(c->in, c->in_len + len + 1, 1);
        c->in = in;
        c->in_cap = c->in_len + len;
    }
    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
}

static void peer_closed(struct http_conn *c) {
    c->peer_closed = true;
    conn_arm_in(c, false);
    /* A client that has shut down only its sending side still gets an answer that has begun or is held. If the answer
     * has still to be fetched, the client is taken to be gone. */
    bool waits = STAILQ_EMPTY(&c->out) && c->req && c->req->reply != REPLY_ENDED && !c->req->answer_is_held;
    if (c->state != CONN_BUSY || waits) conn_abort(c);
}

/* Reads what fits. False: nothing came. */
static bool fill_input(struct http_conn *c) {
    ssize_t n = conn_recv(c, c->in + c->in_len, c->in_cap - c->in_len);
    if (n == -EAGAIN) return false;
    if (n == 0) {
        peer_closed(c);
        return false;
    }
    if (n < 0) {
        conn_abort(c);
        return false;
    }
    c->in_len += (size_t)n;
    return true;
}

/* --- from bytes to a request --- */

static void start_request(struct http_conn *c) {
    struct http_req *r = c->req;
    struct http_server *s = c->share->server;
    req_set_id(r);
    r->has_body = r->head.chunked || r->head.content_length > 0;
    r->body_done = !r->has_body;
    r->body_left = r->head.content_length;
    chunked_init(&r->chunks);
    r->close_after = !r->head.keep_alive || c->share->draining;
    r->head_only = r->head.method == HTTP_HEAD;
    atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
    conn_set_state(c, CONN_BUSY);
    c->sent_ms = c->share->now_ms;
    c->in_handler = true;
    s->cfg.handler(r, s->cfg.arg);
    if (c->req && c->req->reading_body) body_read_more(c);
    c->in_handler = false;
    if (c->peer_closed && c->req && c->req->reply == REPLY_NONE && !c->req->answer_is_held) conn_abort(c);
}

/* The status a broken head is answered with, and the target as far as it could be read. */
static void refuse_head(struct http_conn *c, int status, const char *why) {
    atomic_fetch_add_explicit(&c->share->server->bad_requests, 1, memory_order_relaxed);
    char target[64] = "";
    size_t at = 0, n = 0; /* the parser may have made the blank after the method a NUL */
    while (at < c->in_len && c->in[at] > 0x20)
        at++;
    for (at++; n < sizeof(target) - 1 && at < c->in_len && c->in[at] > 0x20 && c->in[at] < 0x7f; at++)
        target[n++] = c->in[at];
    target[n] = '\0';
    c->in_pos = c->in_len;
    reply_error(c, status, target, why);
}

static void refuse_too_large(struct http_conn *c) {
    if (memchr(c->in, '\n', c->in_len))
        refuse_head(c, 431, "request head too large");
    else
        refuse_head(c, 414, "request target too long");
}

/* A client that speaks TLS to a plain port cannot read the answer, so the log tells of it too, at most once a minute. */
static void refuse_tls(struct http_conn *c) {
    struct http_server *s = c->share->server;
    int64_t now = clock_mono_ms(), told = atomic_load_explicit(&s->tls_told_ms, memory_order_relaxed);
    bool due = told == 0 || now - told >= TLS_TOLD_EVERY_MS;
    if (due && atomic_compare_exchange_strong(&s->tls_told_ms, &told, now))
        log_warn("tls_at_plain_port", KV_S("client", c->remote), KV_I("port", s->port),
                 KV_S("hint", "this port speaks plain HTTP: the client must use http://, or the port needs a "
                              "certificate"));
    refuse_head(c, 400, "this port speaks plain HTTP: use http://");
}

/* Parses one head from the input buffer and starts its request. False: the head is not complete, or is refused. */
static bool next_request(struct http_conn *c) {
    const char *why = "bad request";
    if (c->in_len > 0 && c->in[0] == TLS_HANDSHAKE && c->share->server->cfg.tls_mode == HTTP_TLS_OFF) {
        refuse_tls(c);
        return false;
    }
    if (!c->req) c->req = req_new(c);
    ssize_t n = head_parse(&c->req->head, c->in, c->in_len, &c->scanned, &why);
    if (n > 0) {
        c->in_pos = (size_t)n;
        c->scanned = 0;
        start_request(c);
        return true;
    }
    struct http_req *r = c->req;
    c->req = NULL;
    req_free(c->share, r);
    if (n < 0)
        refuse_head(c, (int)-n, why);
    else if (c->in_len >= c->share->server->cfg.limits.head_bytes)
        refuse_too_large(c);
    else if (c->in_len == 2 && c->in[1] == '\n')
        c->in_len =
            0; /* an empty line after the last body, as old clients send, does not begin a head (RFC 9112 2.2) */
    else if (c->in_len > 0 && c->state == CONN_IDLE)
        conn_set_state(c, CONN_HEAD);
    return false;
}

static void on_busy_readable(struct http_conn *c) {
    struct http_req *r = c->req;
    if (r && r->reading_body && !r->body_done) {
        if (r->body_paused)
            conn_arm_in(c, false);
        else
            body_read_more(c);
        return;
    }
    if (r && r->has_body && !r->body_done) {
        /* The handler does not want the body yet, so it stays in the socket's buffer. */
        conn_arm_in(c, false);
        return;
    }
    /* Bytes in spill come before what would be read now, and wait. */
    if ((r && r->spill) || !grow_input(c)) {
        conn_arm_in(c, false);
        return;
    }
    fill_input(c);
}

static void on_linger_readable(struct http_conn *c) {
    while (c->linger_left > 0) {
        ssize_t n = recv(c->fd, c->share->scratch, SCRATCH, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) break;
        c->linger_left -= n;
    }
    conn_abort(c);
}

/* --- after an answer --- */

void conn_refused(struct http_conn *c) {
    conn_set_state(c, CONN_BUSY);
    conn_arm_in(c, false);
}

void conn_request_done(struct http_conn *c) {
    if (!c->req) {
        linger(c);
        return;
    }
    bool keep = !c->req->close_after && !c->share->draining && body_skip(c);
    if (c->state == CONN_DEAD) return;
    _cleanup_(freep) char *spill = c->req->spill;
    const char *rest = spill ? spill + c->req->spill_pos : NULL;
    size_t rest_len = spill ? c->req->spill_len - c->req->spill_pos : 0;
    c->req->spill = NULL;
    /* A client that asked to close sends nothing more, and all that it sent has been read, so closing causes no reset.
     * If it sends something nevertheless, a small answer has already arrived by the time the reset does. */
    bool is_complete = !c->ssl && !c->req->head.keep_alive && c->req->body_done && c->in_pos == c->in_len && !rest &&
                       c->in_len < c->in_cap && c->req->body_sent <= PLAIN_CLOSE_MAX;
    close_request(c, false);
    if (c->state == CONN_DEAD) return;
    if (!keep && is_complete) {
        conn_abort(c);
        return;
    }
    /* Requests that came before the client shut down its sending side are still answered. */
    if (!keep || (c->peer_closed && c->in_pos == c->in_len && !rest)) {
        linger(c);
        return;
    }
    drop_consumed(c);
    if (rest) add_input(c, rest, rest_len);
    conn_set_state(c, CONN_IDLE);
    if (c->in_len == 0 && (c->in_cap > IN_FIRST || c->peer)) {
        free(c->in);
        c->in = NULL;
        c->in_cap = 0;
    }
    conn_arm_in(c, !c->peer_closed);
    /* Pipelined requests are handled in conn_turn, so that the stack does not grow with each of them. */
    if (c->in_len > 0 || (c->ssl && SSL_pending(c->ssl) > 0)) {
        c->more = true;
        reply_dirty(c);
    }
}

/* --- events --- */

static void process(struct http_conn *c) {
    if (c->state == CONN_TLS && !conn_tls_ready(c)) return;
    if (c->state == CONN_LINGER) {
        on_linger_readable(c);
        return;
    }
    if (c->state == CONN_BUSY) {
        on_busy_readable(c);
        return;
    }
    /* IDLE or HEAD: pipelined bytes first, then the socket. */
    if (c->in_len > 0 && next_request(c)) return;
    if (c->state != CONN_IDLE && c->state != CONN_HEAD) return;
    if (c->peer_closed) {
        conn_abort(c);
        return;
    }
    if (!grow_input(c)) {
        refuse_too_large(c);
        return;
    }
    if (fill_input(c)) next_request(c);
}

static void flush_if_dirty(struct http_conn *c) {
    if (!c->dirty) return;
    TAILQ_REMOVE(&c->share->dirty, c, dirty_link);
    c->dirty = false;
    struct http_req *r = c->req;
    if (r && r->resume) {
        r->resume = r->body_paused = false;
        body_read_more(c);
    }
    reply_flush(c);
}

void conn_turn(struct http_conn *c) {
    flush_if_dirty(c);
    for (int i = 0; i < PIPELINED_PER_TURN && c->more && c->state != CONN_DEAD; i++) {
        c->more = false;
        process(c);
        flush_if_dirty(c);
    }
    if (c->dirty) timer_set(&c->share->later, 0); /* the rest waits until other connections have had a turn */
}

static void on_readable(struct http_conn *c) {
    process(c);
    /* TLS may hold decrypted bytes, for which no socket event comes. */
    for (int i = 0; i < 16 && c->state != CONN_DEAD && c->ssl && c->in_armed && SSL_pending(c->ssl) > 0; i++)
        process(c);
    conn_turn(c);
}

static void on_in(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct http_conn *c = arg;
    struct loop_share *sh = c->share;
    loop_share_enter(sh);
    on_readable(c);
    conn_free_dead(sh);
}

static void on_out(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct http_conn *c = arg;
    struct loop_share *sh = c->share;
    loop_share_enter(sh);
    if (c->state == CONN_TLS || c->tls_wants_write) {
        c->tls_wants_write = false;
        process(c);
        conn_turn(c);
    }
    if (c->state == CONN_DEAD || c->state == CONN_TLS || c->dirty) {
        /* closed, not ready, or queued already */
    } else if (share_is_late(sh)) {
        reply_queue_turn(c);
    } else {
        reply_flush(c);
    }
    conn_free_dead(sh);
}

/* --- time-outs --- */

/* Asks about the other end only after a change: with thousands of edges the question costs more than the rest of a
 * sweep, because nothing of theirs is in the processor's cache. */
static bool peer_may_stay(struct http_conn *c) {
    const struct http_peers *peers = c->share->server->cfg.peers;
    if (!c->peer || c->peer_checked == c->share->peer_changes) return true;
    c->peer_checked = c->share->peer_changes;
    return peers->may_stay(c->peer, peers->arg);
}

void conn_sweep(struct http_conn *c) {
    const struct http_limits *l = &c->share->server->cfg.limits;
    int64_t now = c->share->now_ms, age = now - c->since_ms;
    if (!peer_may_stay(c)) {
        conn_abort(c);
        return;
    }
    switch (c->state) {
    case CONN_TLS:
        if (age > l->head_ms) conn_abort(c);
        break;
    case CONN_IDLE:
        if (age > l->idle_ms) conn_abort(c);
        break;
    case CONN_HEAD:
        if (age <= l->head_ms) break;
        c->in_pos = c->in_len;
        reply_error(c, 408, "", "the request head took too long");
        break;
    case CONN_BUSY:
        if (c->req && body_too_slow(c->req, now)) {
            if (c->req->reply == REPLY_NONE) {
                c->req->close_after = true;
                c->req->body_done = true;
                reply_error(c, 408, http_req_target(c->req), "the request body came too slowly");
            } else {
                conn_abort(c);
            }
        } else if (!STAILQ_EMPTY(&c->out) && now - c->sent_ms > l->send_stall_ms) {
            conn_abort(c);
        }
        break;
    case CONN_LINGER:
        if (age > LINGER_MS) conn_abort(c);
        break;
    case CONN_DEAD:
        break;
    }
}

static void name_remote(struct http_conn *c, const struct sockaddr *sa) {
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        inet_ntop(AF_INET, &in->sin_addr, c->remote, sizeof(c->remote));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        if (memcmp(&in6->sin6_addr, mapped, 12) == 0) {
            inet_ntop(AF_INET, (const char *)&in6->sin6_addr + 12, c->remote, sizeof(c->remote));
        } else {
            inet_ntop(AF_INET6, &in6->sin6_addr, c->remote, sizeof(c->remote));
        }
    } else {
        snprintf(c->remote, sizeof(c->remote), "unix");
    }
}

void conn_new(struct loop_share *sh, int fd, const struct sockaddr *addr, const struct ip *counted_as) {
    struct http_conn *c = xcalloc(1, sizeof(*c));
    c->share = sh;
    c->fd = fd;
    c->passed = -1;
    c->is_unix = addr->sa_family == AF_UNIX;
    STAILQ_INIT(&c->out);
    name_remote(c, addr);
    c->has_ip = ip_parse(&c->ip, c->remote, strlen(c->remote));
    c->counted = counted_as ? COUNTED_BY_ADDRESS : NOT_COUNTED;
    if (counted_as) c->addr = *counted_as;
    event_assign(&c->ev_in, loop_base(sh->loop), fd, EV_READ | EV_PERSIST, on_in, c);
    event_assign(&c->ev_out, loop_base(sh->loop), fd, EV_WRITE | EV_PERSIST, on_out, c);
    TAILQ_INSERT_TAIL(&sh->all, c, all_link);
    sh->n_all++;
    enum http_tls_mode mode = sh->server->cfg.tls_mode;
    c->sniffing = mode != HTTP_TLS_OFF;
    c->state = CONN_DEAD; /* so that set_state sees a change */
    conn_set_state(c, mode == HTTP_TLS_OFF ? CONN_IDLE : CONN_TLS);
    /* The first request has usually arrived with the connection. If it is answered and the connection closed at once,
     * the connection is never registered with the event loop. */
    c->young = c->in_armed = true;
    on_readable(c);
    c->young = false;
    if (c->state != CONN_DEAD && c->in_armed) event_add(&c->ev_in, NULL);
}
