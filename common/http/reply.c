/* Answers: the queue of what waits to leave, and the ways it leaves (send, sendfile, TLS); heads are made in
 * reply_head.c. Thread: the connection's serving loop.
 *
 * A small answer to a request whose connection has nothing queued leaves in one send without an allocation. */
#include "common/http/server_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define IOVS 16
#define FLAT_MAX 4096
#define PAGE 4096
#define TLS_RECORD ((size_t)16384)
#define CORK_FROM (128 * 1024)
#define CORK_FROM_PLAIN (1024 * 1024)

/* --- the queue --- */

static struct seg *seg_new(size_t own) {
    struct seg *s = xmalloc(sizeof(*s) + own);
    memset(s, 0, sizeof(*s));
    s->cap = own;
    return s;
}

static void seg_free(struct seg *s) {
    if (s->kind == SEG_FILE) open_file_unref(s->file);
    if (s->release) s->release(s->release_arg);
    free(s);
}

static void push(struct http_conn *c, struct seg *s) {
    if (STAILQ_EMPTY(&c->out)) c->sent_ms = c->share->now_ms;
    STAILQ_INSERT_TAIL(&c->out, s, link);
    c->out_bytes += s->kind == SEG_FILE ? s->file_len : (int64_t)s->len;
}

/* Small pieces share a segment: a slow client must not cost more memory than http_body_pending tells. */
static void push_copy(struct http_conn *c, const void *data, size_t len) {
    if (len == 0) return;
    struct seg *last = STAILQ_EMPTY(&c->out) ? NULL : container_of(c->out.stqh_last, struct seg, link.stqe_next);
    if (last && last->kind == SEG_MEM && last->cap - last->len >= len) {
        memcpy(last->own + last->len, data, len);
        last->len += len;
        c->out_bytes += (int64_t)len;
        return;
    }
    struct seg *s = seg_new(len < SEG_FIRST ? SEG_FIRST : len);
    memcpy(s->own, data, len);
    s->data = s->own;
    s->len = len;
    push(c, s);
}

static void pop(struct http_conn *c) {
    struct seg *s = STAILQ_FIRST(&c->out);
    STAILQ_REMOVE_HEAD(&c->out, link);
    seg_free(s);
}

void reply_drop_queue(struct http_conn *c) {
    ahead_forget(c);
    while (!STAILQ_EMPTY(&c->out))
        pop(c);
    c->out_bytes = 0;
}

static void add_dirty(struct http_conn *c) {
    c->dirty = true;
    c->dirty_round = c->share->flush_round;
    TAILQ_INSERT_TAIL(&c->share->dirty, c, dirty_link);
}

void reply_dirty(struct http_conn *c) {
    if (c->dirty || c->state == CONN_DEAD) return;
    add_dirty(c);
    if (!c->in_handler) loop_post_last(c->share->loop, &c->share->flush);
}

bool share_is_late(struct loop_share *sh) {
    return clock_mono_us() - loop_enter(sh->loop) > PASS_US;
}

void reply_queue_turn(struct http_conn *c) {
    conn_arm_out(c, false);
    if (c->dirty || c->state == CONN_DEAD) return;
    add_dirty(c);
    timer_set(&c->share->later, 0);
}

/* --- sending --- */

static void sent(struct http_conn *c, size_t n) {
    c->out_bytes -= (int64_t)n;
    c->sent_ms = c->share->now_ms;
    if (c->req && !c->req->first_byte_us) c->req->first_byte_us = clock_mono_us();
}

/* Takes n sent bytes off the memory segments at the front. */
static void advance(struct http_conn *c, size_t n) {
    sent(c, n);
    struct seg *s;
    while (n && (s = STAILQ_FIRST(&c->out))) {
        size_t left = s->len - s->off;
        if (n < left) {
            s->off += n;
            return;
        }
        n -= left;
        pop(c);
    }
}

/* What sending returns: the number of bytes sent, or one of these. */
enum { SEND_WAIT = -1, SEND_BROKEN = -2 };

static ssize_t send_mem_plain(struct http_conn *c) {
    struct iovec iov[IOVS];
    struct msghdr msg = {.msg_iov = iov};
    struct seg *s = STAILQ_FIRST(&c->out);
    for (; s && s->kind != SEG_FILE && msg.msg_iovlen < IOVS; s = STAILQ_NEXT(s, link)) {
        iov[msg.msg_iovlen++] = (struct iovec){(void *)(uintptr_t)(s->data + s->off), s->len - s->off};
    }
    ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | (s ? MSG_MORE : 0));
    if (n < 0) return errno == EAGAIN || errno == EINTR ? SEND_WAIT : SEND_BROKEN;
    advance(c, (size_t)n);
    return n;
}

static ssize_t file_sent(struct http_conn *c, ssize_t n) {
    struct seg *s = STAILQ_FIRST(&c->out);
    s->file_off += n;
    s->file_len -= n;
    sent(c, (size_t)n);
    if (s->file_len == 0) pop(c);
    return n;
}

static void cork(struct http_conn *c, bool on) {
    int value = on;
    if (c->corked == on) return;
    c->corked = on;
    setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value)); /* fails on a UNIX socket, which does not matter */
}

/* How many bytes of s to send now. They end at a page's end, so that whole pages are read from the page cache. */
static size_t file_part(const struct seg *s, size_t budget) {
    if (s->warm_end > s->file_off && s->warm_end - s->file_off < (int64_t)budget)
        budget = (size_t)(s->warm_end - s->file_off);
    if (s->file_len <= (int64_t)budget) return (size_t)s->file_len;
    size_t in_page = (size_t)(s->file_off % PAGE);
    return budget > PAGE ? budget - in_page : budget;
}

static ssize_t send_file_plain(struct http_conn *c, size_t budget) {
    struct seg *s = STAILQ_FIRST(&c->out);
    size_t want = file_part(s, budget);
    off_t off = s->file_off;
    if (s->file_len > CORK_FROM_PLAIN) cork(c, true);
    ssize_t n = sendfile(c->fd, open_file_fd(s->file), &off, want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return SEND_WAIT;
    if (n < 0 && disk_is_bad(-errno)) open_file_fail(s->file, -errno);
    if (n <= 0) return SEND_BROKEN; /* 0: the file is shorter than was promised */
    return file_sent(c, n);
}

static ssize_t tls_result(struct http_conn *c, int r) {
    if (r > 0) return r;
    int e = SSL_get_error(c->ssl, r);
    return e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ ? SEND_WAIT : SEND_BROKEN;
}

static ssize_t send_mem_tls(struct http_conn *c) {
    size_t n = 0;
    for (struct seg *s = STAILQ_FIRST(&c->out); s && s->kind != SEG_FILE && n < 16384; s = STAILQ_NEXT(s, link)) {
        size_t k = s->len - s->off < 16384 - n ? s->len - s->off : 16384 - n;
        memcpy(c->share->scratch + n, s->data + s->off, k);
        n += k;
    }
    tls_forget_errors();
    ssize_t r = tls_result(c, SSL_write(c->ssl, c->share->scratch, (int)n));
    if (r > 0) advance(c, (size_t)r);
    return r;
}

static ssize_t send_file_tls(struct http_conn *c, size_t budget) {
    struct seg *s = STAILQ_FIRST(&c->out);
    tls_forget_errors();
#ifdef BIO_get_ktls_send
    if (BIO_get_ktls_send(SSL_get_wbio(c->ssl))) {
        size_t want = file_part(s, budget);
        ossl_ssize_t r = SSL_sendfile(c->ssl, open_file_fd(s->file), s->file_off, want, 0);
        if (r > 0) return file_sent(c, r);
        if (r < 0 && disk_is_bad(-errno)) open_file_fail(s->file, -errno);
        return r == 0 ? SEND_BROKEN : tls_result(c, (int)r);
    }
#endif
    size_t want = s->file_len < SCRATCH ? (size_t)s->file_len : SCRATCH;
    /* If a record could not be sent, OpenSSL wants it again with at least as many bytes. */
    if (want > budget && want > TLS_RECORD) want = budget > TLS_RECORD ? budget : TLS_RECORD;
    ssize_t have = pread(open_file_fd(s->file), c->share->scratch, want, s->file_off);
    if (have < 0 && disk_is_bad(-errno)) open_file_fail(s->file, -errno);
    if (have <= 0) return SEND_BROKEN;
    /* SSL_write makes one record a call; the cork lets several be sent together. */
    if (s->file_len > CORK_FROM) cork(c, true);
    ssize_t gone = 0, r = 0;
    while (gone < have && (r = tls_result(c, SSL_write(c->ssl, c->share->scratch + gone, (int)(have - gone)))) > 0)
        gone += r;
    if (r == SEND_BROKEN || gone == 0) return r;
    return file_sent(c, gone);
}

static ssize_t send_some(struct http_conn *c, size_t budget) {
    bool is_file = STAILQ_FIRST(&c->out)->kind == SEG_FILE;
    if (c->ssl) return is_file ? send_file_tls(c, budget) : send_mem_tls(c);
    return is_file ? send_file_plain(c, budget) : send_mem_plain(c);
}

/* Calls the handler that has asked to be told when there is room. */
static void tell_drained(struct http_conn *c) {
    struct http_req *r = c->req;
    if (!r || !r->on_drain || c->out_bytes >= r->low_water) return;
    void (*fn)(struct http_req *) = r->on_drain;
    r->on_drain = NULL;
    fn(r);
}

/* Drops what is queued, all of it body. Returns its length. */
static int64_t take_back(struct http_req *r) {
    int64_t left = r->conn->out_bytes;
    reply_drop_queue(r->conn);
    r->body_sent -= left;
    r->reply = REPLY_STREAMING;
    conn_arm_out(r->conn, false);
    return left;
}

/* True: the disk failed, and the handler appends the rest from elsewhere. */
static bool rest_comes_from_handler(struct http_conn *c) {
    const struct seg *s = STAILQ_FIRST(&c->out);
    struct http_req *r = c->req;
    if (s->kind != SEG_FILE || !open_file_failure(s->file) || !r || !r->on_unreadable || r->promised < 0 ||
        r->wrong_size)
        return false;
    r->on_unreadable(r, take_back(r));
    return true;
}

void reply_flush(struct http_conn *c) {
    size_t budget = share_is_late(c->share) ? SEND_LATE : c->ssl ? SEND_PER_TURN_TLS : SEND_PER_TURN;
    size_t memory = budget;
    tell_drained(c); /* there may be room enough already */
    while (c->state != CONN_DEAD && !STAILQ_EMPTY(&c->out)) {
        if (budget == 0 || memory == 0) {
            reply_queue_turn(c); /* other connections get a turn */
            return;
        }
        bool is_file = STAILQ_FIRST(&c->out)->kind == SEG_FILE;
        if (is_file && !ahead_ready(c, STAILQ_FIRST(&c->out))) {
            cork(c, false);
            conn_arm_out(c, false);
            return;
        }
        ssize_t n = send_some(c, budget);
        if (n == SEND_BROKEN) {
            if (!rest_comes_from_handler(c)) conn_abort(c);
            return;
        }
        if (n == SEND_WAIT) {
            conn_arm_out(c, true);
            return;
        }
        /* Memory has a budget of its own: if heads counted, a file's parts would not end at whole pages. */
        size_t *left = is_file ? &budget : &memory;
        *left = (size_t)n + PAGE < *left ? *left - (size_t)n : 0;
        tell_drained(c);
    }
    if (c->state == CONN_DEAD) return;
    cork(c, false);
    conn_arm_out(c, false);
    if (c->req ? c->req->reply == REPLY_ENDED
               : c->state != CONN_LINGER && c->state != CONN_IDLE && c->state != CONN_TLS && c->state != CONN_HEAD) {
        conn_request_done(c);
    }
}

/* --- whole answers --- */

static bool body_allowed(const struct http_req *r, int status) {
    return !r->head_only && status != 204 && status != 304;
}

/* Pieces that fit are copied into one buffer: send costs less than sendmsg with several pieces. */
static ssize_t send_now(struct http_conn *c, const struct iovec *iov, unsigned n, size_t total) {
    char flat[FLAT_MAX];
    if (total > sizeof(flat)) {
        struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
        return sendmsg(c->fd, &msg, MSG_NOSIGNAL);
    }
    char *to = flat;
    for (unsigned i = 0; i < n; i++)
        if (iov[i].iov_len) to = mempcpy(to, iov[i].iov_base, iov[i].iov_len);
    return send(c->fd, flat, total, MSG_NOSIGNAL);
}

static void push_ref(struct http_conn *c, const void *data, size_t len, void (*release)(void *), void *arg) {
    struct seg *s = seg_new(0);
    s->kind = SEG_REF;
    s->data = data;
    s->len = len;
    s->release = release;
    s->release_arg = arg;
    push(c, s);
}

/* Sends the pieces now if nothing waits before them, and queues what the client does not take. The last piece may be a
 * reference. */
static void send_or_queue(struct http_req *r, struct iovec *iov, unsigned n, void (*release)(void *), void *arg) {
    struct http_conn *c = r->conn;
    size_t gone = 0, total = 0;
    for (unsigned i = 0; i < n; i++)
        total += iov[i].iov_len;
    if (!c->ssl && STAILQ_EMPTY(&c->out)) {
        ssize_t k = send_now(c, iov, n, total);
        if (k > 0) gone = (size_t)k;
        if (gone > 0 && !r->first_byte_us) r->first_byte_us = clock_mono_us();
    }
    for (unsigned i = 0; i < n && gone < total; i++) {
        size_t skip = gone < iov[i].iov_len ? gone : iov[i].iov_len;
        gone -= skip;
        total -= skip;
        const char *rest = (const char *)iov[i].iov_base + skip;
        size_t left = iov[i].iov_len - skip;
        if (left == 0) continue;
        if (release && i == n - 1) {
            push_ref(c, rest, left, release, arg);
            release = NULL;
        } else {
            push_copy(c, rest, left);
        }
    }
    if (release) release(arg);
}

static void whole(struct http_req *r, int status, struct iovec *iov, unsigned n, size_t body_len,
                  void (*release)(void *), void *arg) {
    if (r->taken_over) {
        if (release) release(arg);
        return;
    }
    assert(r->reply == REPLY_NONE);
    r->status = status;
    r->reply = REPLY_ENDED;
    r->body_sent += (int64_t)body_len;
    r->promised = (int64_t)body_len;
    struct http_conn *c = r->conn;
    send_or_queue(r, iov, n, release, arg);
    reply_dirty(c);
}

static void reply_any(struct http_req *r, int status, const char *type, const void *body, size_t len,
                      void (*release)(void *), void *arg) {
    if (r->taken_over) {
        if (release) release(arg);
        return;
    }
    char head[REPLY_HEAD_MAX];
    size_t n = reply_head(r, status, type, (int64_t)len, head);
    bool with_body = body_allowed(r, status) && len > 0;
    struct iovec iov[4] = {{head, n},
                           {r->extra.data, r->extra.len},
                           {(void *)(uintptr_t) "\r\n", 2},
                           {(void *)(uintptr_t)body, with_body ? len : 0}};
    if (!with_body && release) {
        release(arg);
        release = NULL;
    }
    whole(r, status, iov, with_body ? 4 : 3, with_body ? len : 0, release, arg);
}

void http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t len) {
    reply_any(r, status, content_type, body, len, NULL, NULL);
}

void http_reply_ref(struct http_req *r, int status, const char *content_type, const void *body, size_t len,
                    void (*release)(void *arg), void *arg) {
    reply_any(r, status, content_type, body, len, release, arg);
}

/* --- streamed answers --- */

void http_reply_begin(struct http_req *r, int status, const char *content_type, int64_t content_length) {
    if (r->taken_over) return;
    assert(r->reply == REPLY_NONE);
    bool none = status == 204 || status == 304;
    if (content_length < 0 && r->head.minor == 1 && !none) r->chunked_out = true;
    if (content_length < 0 && r->head.minor == 0 && !none) r->close_after = true;
    char head[REPLY_HEAD_MAX];
    size_t n = reply_head(r, status, content_type, content_length, head);
    r->status = status;
    r->reply = REPLY_STREAMING;
    if (none) r->head_only = true;
    r->promised = r->head_only ? 0 : content_length;
    push_copy(r->conn, head, n);
    push_copy(r->conn, r->extra.data, r->extra.len);
    push_copy(r->conn, "\r\n", 2);
    reply_dirty(r->conn);
}

/* How many of len more bytes the promised length allows. The client would read further bytes as the next answer. */
static int64_t within_promise(struct http_req *r, int64_t len) {
    if (r->promised < 0 || r->body_sent + len <= r->promised) return len;
    r->wrong_size = r->close_after = true;
    return r->promised - r->body_sent;
}

static void chunk_size(struct http_req *r, int64_t len) {
    char line[24];
    int n = snprintf(line, sizeof(line), "%llx\r\n", (long long)len);
    push_copy(r->conn, line, (size_t)n);
}

void http_body_mem(struct http_req *r, const void *data, size_t len) {
    if (r->taken_over) return;
    assert(r->reply == REPLY_STREAMING);
    if (r->head_only) return;
    len = (size_t)within_promise(r, (int64_t)len);
    if (len == 0) return;
    if (r->chunked_out) chunk_size(r, (int64_t)len);
    push_copy(r->conn, data, len);
    if (r->chunked_out) push_copy(r->conn, "\r\n", 2);
    r->body_sent += (int64_t)len;
    reply_dirty(r->conn);
}

void http_body_ref(struct http_req *r, const void *data, size_t len, void (*release)(void *arg), void *arg) {
    assert(r->taken_over || r->reply == REPLY_STREAMING);
    if (!r->taken_over && !r->head_only) len = (size_t)within_promise(r, (int64_t)len);
    if (r->taken_over || r->head_only || len == 0) {
        release(arg);
        return;
    }
    if (r->chunked_out) chunk_size(r, (int64_t)len);
    push_ref(r->conn, data, len, release, arg);
    if (r->chunked_out) push_copy(r->conn, "\r\n", 2);
    r->body_sent += (int64_t)len;
    reply_dirty(r->conn);
}

static void body_file(struct http_req *r, struct open_file *f, int64_t offset, int64_t len, bool fresh) {
    if (r->taken_over) return;
    assert(r->reply == REPLY_STREAMING);
    if (r->head_only || len <= 0) return;
    len = within_promise(r, len);
    if (len == 0) return;
    if (r->chunked_out) chunk_size(r, len);
    struct seg *s = seg_new(0);
    s->kind = SEG_FILE;
    s->file = open_file_ref(f);
    s->file_off = offset;
    s->file_len = len;
    if (fresh) s->warm_end = offset + len;
    push(r->conn, s);
    if (r->chunked_out) push_copy(r->conn, "\r\n", 2);
    r->body_sent += len;
    reply_dirty(r->conn);
}

void http_body_file(struct http_req *r, struct open_file *f, int64_t offset, int64_t len) {
    body_file(r, f, offset, len, false);
}

void http_body_file_fresh(struct http_req *r, struct open_file *f, int64_t offset, int64_t len) {
    body_file(r, f, offset, len, true);
}

void http_body_on_unreadable(struct http_req *r, void (*fn)(struct http_req *r, int64_t left)) {
    r->on_unreadable = fn;
}

int64_t http_body_withdraw(struct http_req *r) {
    const struct seg *s = STAILQ_FIRST(&r->conn->out);
    for (; s; s = STAILQ_NEXT(s, link)) {
        if (s->kind != SEG_FILE) return -1;
    }
    if (r->taken_over || r->promised < 0 || r->wrong_size || r->reply == REPLY_NONE) return -1;
    r->on_drain = NULL;
    reply_dirty(r->conn); /* what has left is not held back any more */
    return take_back(r);
}

void http_body_limit_unsent(struct http_req *r, int bytes) {
    setsockopt(r->conn->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

int64_t http_body_pending(const struct http_req *r) {
    return r->conn->out_bytes;
}

void http_body_on_drain(struct http_req *r, int64_t low_water, void (*fn)(struct http_req *r)) {
    r->low_water = low_water > 0 ? low_water : 1;
    r->on_drain = fn;
    reply_dirty(r->conn);
}

void http_reply_end(struct http_req *r) {
    if (r->taken_over) return;
    assert(r->reply == REPLY_STREAMING);
    if (r->promised >= 0 && r->body_sent != r->promised) r->wrong_size = r->close_after = true;
    if (r->chunked_out && !r->head_only) push_copy(r->conn, "0\r\n\r\n", 5);
    r->reply = REPLY_ENDED;
    r->on_drain = NULL;
    reply_dirty(r->conn);
}

void http_reply_abort(struct http_req *r) {
    if (r->taken_over) return;
    if (r->reply == REPLY_NONE) {
        reply_error(r->conn, 500, http_req_target(r), "internal error");
        return;
    }
    conn_abort(r->conn);
}

bool http_reply_started(const struct http_req *r) {
    return r->reply != REPLY_NONE;
}

void reply_raw(struct http_conn *c, const char *data, size_t len) {
    push_copy(c, data, len);
    reply_dirty(c);
}

/* --- the server's own errors --- */

static size_t plain_error(int status, const char *target, const char *msg, char *buf, size_t cap,
                          struct http_error_form *form) {
    (void)target;
    (void)status;
    *form = (struct http_error_form){"text/plain; charset=utf-8", ""};
    int n = snprintf(buf, cap, "%s\n", msg);
    return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
}

size_t reply_error_body(const struct http_server *s, int status, const char *target, const char *msg, char *buf,
                        size_t cap, struct http_error_form *form) {
    return (s->cfg.error_body ? s->cfg.error_body : plain_error)(status, target, msg, buf, cap, form);
}

void reply_error(struct http_conn *c, int status, const char *target, const char *msg) {
    char body[1024], copy[1024];
    struct http_error_form form;
    snprintf(copy, sizeof(copy), "%s", target);
    size_t len = reply_error_body(c->share->server, status, copy, msg, body, sizeof(body), &form);
    struct http_req *r = c->req;
    if (r) {
        r->close_after = true;
        buf_clear(&r->extra); /* headers of the answer that this error replaces */
        http_reply_lines(r, form.lines, strlen(form.lines));
        http_reply(r, status, form.content_type, body, len);
        r->taken_over = true;
        return;
    }
    char head[REPLY_HEAD_MAX];
    size_t n = reply_head_alone(c, status, &form, len, head);
    push_copy(c, head, n);
    push_copy(c, body, len);
    conn_refused(c);
    reply_dirty(c);
}
