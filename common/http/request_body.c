/* Request bodies: framing, limits, back-pressure, 100-continue. Thread: the connection's serving loop. */
#include "common/http/server_private.h"

#include "common/core/alloc.h"
#include "common/core/error.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define COLLECT_MAX ((size_t)MiB)
#define RATE_WINDOW_MS 10000

/* The body is over the limit: answers 413 if no answer has begun, else cuts the connection. */
static void too_large(struct http_req *r) {
    struct http_conn *c = r->conn;
    r->body_done = true;
    r->close_after = true;
    if (!r->sink) return; /* the body is only skipped: the answer stays as it is, and the connection closes */
    if (r->reply == REPLY_NONE)
        reply_error(c, 413, http_req_target(r), "the request body is too large");
    else
        conn_abort(c);
}

static void broken(struct http_req *r) {
    struct http_conn *c = r->conn;
    r->body_done = true;
    r->close_after = true;
    if (!r->sink) return;
    if (r->reply == REPLY_NONE)
        reply_error(c, 400, http_req_target(r), "the request body's chunks are malformed");
    else
        conn_abort(c);
}

/* Gives payload to the sink; returns what it took. */
static size_t deliver(struct http_req *r, const char *data, size_t len) {
    if (!r->sink || r->reply == REPLY_ENDED) return len; /* being skipped, or answered already */
    struct http_conn *c = r->conn;
    size_t taken = r->sink->data(r, data, len);
    if (c->req != r) return 0; /* the sink ended the request */
    assert(taken <= len);
    if (taken < len) r->body_paused = true;
    return taken;
}

static void at_end(struct http_req *r) {
    r->body_done = true;
    if (r->sink && r->sink->end && r->reply != REPLY_ENDED) r->sink->end(r);
}

static ssize_t feed_length(struct http_req *r, const char *data, size_t len) {
    struct http_conn *c = r->conn;
    size_t n = (int64_t)len < r->body_left ? len : (size_t)r->body_left;
    if (r->body_got + (int64_t)n > r->body_limit) {
        too_large(r);
        return ERR_TOO_BIG;
    }
    size_t taken = deliver(r, data, n);
    if (c->req != r) return ERR_CANCELLED;
    r->body_got += (int64_t)taken;
    r->body_left -= (int64_t)taken;
    if (r->body_left == 0) at_end(r);
    return (ssize_t)taken;
}

static ssize_t feed_chunked(struct http_req *r, const char *data, size_t len) {
    struct http_conn *c = r->conn;
    const char *payload;
    size_t n;
    ssize_t used = chunked_feed(&r->chunks, data, len, &payload, &n);
    if (used < 0) {
        broken(r);
        return ERR_INVALID;
    }
    if (n > 0) {
        if (r->body_got + (int64_t)n > r->body_limit) {
            too_large(r);
            return ERR_TOO_BIG;
        }
        size_t taken = deliver(r, payload, n);
        if (c->req != r) return ERR_CANCELLED;
        r->body_got += (int64_t)taken;
        if (taken < n) {
            /* Give the rest back: the decoder is within this chunk again. */
            chunked_give_back(&r->chunks, n - taken);
            used -= (ssize_t)(n - taken);
        }
    }
    if (r->chunks.done) at_end(r);
    return used;
}

/* Takes request body bytes from data; returns how many were consumed, negative if the body is broken (the request is
 * then over). */
static ssize_t body_feed(struct http_req *r, const char *data, size_t len) {
    return r->head.chunked ? feed_chunked(r, data, len) : feed_length(r, data, len);
}

/* --- from the connection --- */

/* Body bytes that came with the head, or that were left when the sink had enough. */
static void feed_buffered_body(struct http_conn *c) {
    struct http_req *r = c->req;
    while (c->req == r && r->reading_body && !r->body_done && !r->body_paused && c->in_pos < c->in_len) {
        ssize_t n = body_feed(r, c->in + c->in_pos, c->in_len - c->in_pos);
        if (n < 0 || c->req != r) return;
        c->in_pos += (size_t)n;
        if (n == 0) return;
    }
    if (c->req != r || !r->spill) return;
    /* Not in the request while the sink gets it, because the sink may end the request. */
    char *spill = r->spill;
    size_t pos = r->spill_pos, len = r->spill_len;
    r->spill = NULL;
    while (c->req == r && r->reading_body && !r->body_done && !r->body_paused && pos < len) {
        ssize_t n = body_feed(r, spill + pos, len - pos);
        if (n <= 0) break;
        pos += (size_t)n;
    }
    if (c->req != r || pos == len) {
        free(spill);
        return;
    }
    r->spill = spill;
    r->spill_pos = pos;
}

/* Keeps what the sink did not want yet, or the first bytes of the next request. The input buffer cannot take them: it
 * may not move while the head's strings are in use. */
static void keep_unwanted(struct http_conn *c, const char *data, size_t len) {
    if (len <= c->in_cap - c->in_len) {
        memcpy(c->in + c->in_len, data, len);
        c->in_len += len;
        return;
    }
    struct http_req *r = c->req;
    r->spill = xmalloc(len);
    memcpy(r->spill, data, len);
    r->spill_len = len;
    r->spill_pos = 0;
}

/* The client ended or broke the connection within a body. */
static void body_cut(struct http_conn *c) {
    struct http_req *r = c->req;
    if (r->sink)
        conn_abort(c);
    else
        r->body_done = r->close_after = true; /* the body is only skipped: the answer has been sent */
}

/* Straight from the socket to the sink. */
static void read_body(struct http_conn *c) {
    struct http_req *r = c->req;
    for (int i = 0; i < 16 && c->req == r && !r->body_done && !r->body_paused && c->in_pos == c->in_len && !r->spill;
         i++) {
        ssize_t n = conn_recv(c, c->share->scratch, SCRATCH);
        if (n == -EAGAIN) return;
        if (n <= 0) {
            body_cut(c);
            return;
        }
        r->rate_bytes += n;
        size_t used = 0;
        while (used < (size_t)n && c->req == r && !r->body_done && !r->body_paused) {
            ssize_t k = body_feed(r, c->share->scratch + used, (size_t)n - used);
            if (k < 0 || c->req != r) return;
            if (k == 0) break;
            used += (size_t)k;
        }
        if (used < (size_t)n) {
            if (c->req == r) keep_unwanted(c, c->share->scratch + used, (size_t)n - used);
            return;
        }
    }
}

void body_read_more(struct http_conn *c) {
    if (c->state != CONN_BUSY || !c->req) return;
    feed_buffered_body(c);
    if (c->state == CONN_BUSY && c->req && c->req->reading_body && !c->req->body_done && !c->req->body_paused) {
        if (!c->peer_closed) conn_arm_in(c, true);
        read_body(c);
    }
}

/* Drops the rest of a body that the handler did not read, if it is short and already here; else the connection
 * closes. */
bool body_skip(struct http_conn *c) {
    struct http_req *r = c->req;
    if (r->body_done) return true;
    if (r->head.expect_continue && !r->reading_body)
        return false; /* no 100 Continue was sent, so the body may not come */
    r->reading_body = true;
    r->body_paused = false;
    r->sink = NULL;
    r->body_limit = r->body_got + DRAIN_BODY_MAX;
    body_read_more(c);
    return c->req == r && r->body_done && !r->close_after;
}

bool body_too_slow(struct http_req *r, int64_t now_ms) {
    if (!r->reading_body || r->body_done || r->body_paused) {
        r->rate_ms = 0;
        return false;
    }
    if (r->rate_ms == 0) {
        r->rate_ms = now_ms;
        r->rate_bytes = 0;
        return false;
    }
    if (now_ms - r->rate_ms < RATE_WINDOW_MS) return false;
    bool slow = r->rate_bytes * 1000 < r->conn->share->server->cfg.limits.body_rate_bytes_per_s * (now_ms - r->rate_ms);
    r->rate_ms = now_ms;
    r->rate_bytes = 0;
    return slow;
}

void http_req_read_body(struct http_req *r, const struct http_body_sink *sink, int64_t limit) {
    struct http_conn *c = r->conn;
    assert(!r->reading_body);
    r->sink = sink;
    r->body_limit = limit;
    r->reading_body = true;
    if (!r->has_body) {
        sink->end(r);
        return;
    }
    if (!r->head.chunked && r->head.content_length > limit) {
        too_large(r);
        return;
    }
    if (r->head.expect_continue && c->in_pos == c->in_len) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        reply_raw(c, go_on, sizeof(go_on) - 1);
    }
    if (!c->in_handler) http_req_resume_body(r);
}

void http_req_resume_body(struct http_req *r) {
    /* Read later: the caller may be the sink itself, and reading may end the request. */
    r->resume = true;
    reply_dirty(r->conn);
}

static size_t collect_data(struct http_req *r, const void *data, size_t len) {
    if (buf_add(&r->collected, data, len) < 0) too_large(r);
    return len;
}

/* An answer may be long in coming: the body does not wait for it. */
static void collect_end(struct http_req *r) {
    struct buf body = r->collected;
    buf_init(&r->collected, 0);
    r->collect_fn(r, body.data ? body.data : "", body.len);
    buf_fini(&body);
}

void http_req_collect_body(struct http_req *r, size_t limit,
                           void (*fn)(struct http_req *r, const char *body, size_t len)) {
    static const struct http_body_sink sink = {collect_data, collect_end};
    assert(limit <= COLLECT_MAX);
    buf_init(&r->collected, limit + 1);
    r->collect_fn = fn;
    http_req_read_body(r, &sink, (int64_t)limit);
}
