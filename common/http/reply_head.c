/* Heads of answers, put together by copying: on the path of a warm hit nothing is formatted. Thread: the connection's
 * serving loop. */
#include "common/http/server_private.h"

#include "common/core/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct text {
    const char *s;
    size_t len;
};
#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

static const struct {
    int status;
    struct text line;
} lines[] = {
#define LINE(status, reason)                                                                         \
    {                                                                                                \
        status, {                                                                                    \
            "HTTP/1.1 " #status " " reason "\r\n", sizeof("HTTP/1.1 " #status " " reason "\r\n") - 1 \
        }                                                                                            \
    }
    LINE(100, "Continue"),
    LINE(200, "OK"),
    LINE(201, "Created"),
    LINE(202, "Accepted"),
    LINE(204, "No Content"),
    LINE(206, "Partial Content"),
    LINE(304, "Not Modified"),
    LINE(307, "Temporary Redirect"),
    LINE(400, "Bad Request"),
    LINE(401, "Unauthorized"),
    LINE(403, "Forbidden"),
    LINE(404, "Not Found"),
    LINE(405, "Method Not Allowed"),
    LINE(408, "Request Timeout"),
    LINE(409, "Conflict"),
    LINE(412, "Precondition Failed"),
    LINE(413, "Content Too Large"),
    LINE(414, "URI Too Long"),
    LINE(415, "Unsupported Media Type"),
    LINE(416, "Range Not Satisfiable"),
    LINE(417, "Expectation Failed"),
    LINE(421, "Misdirected Request"),
    LINE(429, "Too Many Requests"),
    LINE(431, "Request Header Fields Too Large"),
    LINE(500, "Internal Server Error"),
    LINE(501, "Not Implemented"),
    LINE(502, "Bad Gateway"),
    LINE(503, "Service Unavailable"),
    LINE(504, "Gateway Timeout")
#undef LINE
};

/* The head as it is put together. Every piece is bounded, so the head always fits. */
struct head_out {
    char *to;
};

static void put(struct head_out *o, struct text t) {
    o->to = mempcpy(o->to, t.s, t.len);
}

static void put_number(struct head_out *o, uint64_t n) {
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + n % 10);
    } while (n /= 10);
    put(o, (struct text){digits + i, sizeof(digits) - i});
}

static void put_status(struct head_out *o, int status) {
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (lines[i].status != status) continue;
        put(o, lines[i].line);
        return;
    }
    put(o, TEXT("HTTP/1.1 "));
    put_number(o, (uint64_t)status);
    put(o, TEXT(" Status\r\n"));
}

/* The lines of every answer up to the value of X-Request-Id, made once a second. */
static struct text common_lines(struct loop_share *sh) {
    int64_t now = clock_wall_s();
    if (now != sh->common_s || !sh->common_len) {
        time_t t = (time_t)now;
        struct tm tm;
        gmtime_r(&t, &tm);
        sh->common_len = strftime(sh->common, sizeof(sh->common),
                                  "Date: %a, %d %b %Y %H:%M:%S GMT\r\nServer: entrepot\r\nX-Request-Id: ", &tm);
        sh->common_s = now;
    }
    return (struct text){sh->common, sh->common_len};
}

/* Up to the value of X-Request-Id; its line is not ended. */
static void put_start(struct head_out *o, struct loop_share *sh, int status, const char *id) {
    put_status(o, status);
    put(o, common_lines(sh));
    put(o, (struct text){id, strlen(id)});
}

static void put_type_and_length(struct head_out *o, const char *type, int64_t length) {
    if (type) {
        put(o, TEXT("Content-Type: "));
        put(o, (struct text){type, strnlen(type, 300)});
        put(o, TEXT("\r\n"));
    }
    if (length < 0) return;
    put(o, TEXT("Content-Length: "));
    put_number(o, (uint64_t)length);
    put(o, TEXT("\r\n"));
}

/* Decides whether the connection ends with this answer, which its head must say. After Expect without a 100 Continue the
 * body may or may not come, and a body that is too long is not skipped. */
static void settle_close(struct http_req *r) {
    if (r->conn->share->draining) r->close_after = true;
    if (!r->body_done && !r->reading_body && (r->head.expect_continue || r->body_left > DRAIN_BODY_MAX))
        r->close_after = true;
}

size_t reply_head(struct http_req *r, int status, const char *type, int64_t length, char out[REPLY_HEAD_MAX]) {
    struct head_out o = {out};
    bool bodiless = status == 204 || status == 304;
    settle_close(r);
    put_start(&o, r->conn->share, status, r->id);
    if (r->close_after)
        put(&o, TEXT("\r\nConnection: close\r\n"));
    else if (r->head.minor == 0)
        put(&o, TEXT("\r\nConnection: keep-alive\r\n"));
    else
        put(&o, TEXT("\r\n"));
    put_type_and_length(&o, type, bodiless ? -1 : length);
    if (length < 0 && r->chunked_out) put(&o, TEXT("Transfer-Encoding: chunked\r\n"));
    return (size_t)(o.to - out);
}

size_t reply_head_alone(struct http_conn *c, int status, const struct http_error_form *form, size_t length,
                        char out[REPLY_HEAD_MAX]) {
    struct head_out o = {out};
    char id[65];
    req_make_id(id);
    put_start(&o, c->share, status, id);
    put(&o, TEXT("\r\nConnection: close\r\n"));
    put_type_and_length(&o, form->content_type, (int64_t)length);
    put(&o, (struct text){form->lines, strnlen(form->lines, 200)});
    put(&o, TEXT("\r\n"));
    return (size_t)(o.to - out);
}

/* --- the handler's own fields --- */

static void add(struct http_req *r, const char *text, size_t len) {
    if (buf_add(&r->extra, text, len) < 0) abort(); /* the room was checked before */
}

void http_reply_header(struct http_req *r, const char *name, const char *value) {
    size_t room = r->extra.limit - r->extra.len, name_len = strlen(name), n = strlen(value);
    if (name_len + n + 4 > room) return;
    add(r, name, name_len);
    add(r, ": ", 2);
    size_t at = r->extra.len;
    add(r, value, n);
    for (size_t i = at; i < r->extra.len; i++) {
        char ch = r->extra.data[i];
        if (ch == '\r' || ch == '\n') r->extra.data[i] = ' ';
    }
    add(r, "\r\n", 2);
}

void http_reply_header_number(struct http_req *r, const char *name, uint64_t n) {
    char digits[24];
    struct head_out o = {digits};
    put_number(&o, n);
    *o.to = '\0';
    http_reply_header(r, name, digits);
}

void http_reply_headerf(struct http_req *r, const char *name, const char *fmt, ...) {
    char value[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    http_reply_header(r, name, value);
}

void http_reply_lines(struct http_req *r, const char *text, size_t len) {
    if (len <= r->extra.limit - r->extra.len) add(r, text, len);
}
