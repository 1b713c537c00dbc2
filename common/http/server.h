/* HTTP/1.1 server on raw libevent events (RFC 9110, RFC 9112): keep-alive, pipelining, streamed bodies both ways,
 * sendfile, TLS, limits and drain. One http_listener per address per serving loop (SO_REUSEPORT); a connection lives
 * and dies on its loop. Thread: everything here is called on the serving loop that owns the request, unless said
 * otherwise.
 *
 * Life of a request: the handler is called once the head is checked. The handler answers now or later, exactly once:
 *   http_reply_*()                         a whole small answer, or
 *   http_reply_begin(); http_body_*()…; http_reply_end() or http_reply_abort()   a streamed one.
 * The request stays valid until on_close was called; after that it must not be touched. on_close is called exactly once
 * for every request for which a handler set it, when the answer has left or the connection died. */
#ifndef ENTREPOT_HTTP_SERVER_H
#define ENTREPOT_HTTP_SERVER_H

#include "common/core/error.h"
#include "common/core/loop.h"
#include "common/core/network.h"
#include "common/core/open_file.h"

struct http_server;
struct http_req;
struct tls_server; /* common/http/tls.h */
struct workpool;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };

struct http_limits {
    size_t head_bytes;             /* whole request head; over: 431. default 32 KiB */
    int64_t head_ms;               /* from first byte of a head to its end; over: 408 and close. default 10 s */
    int64_t idle_ms;               /* keep-alive without a request. default 120 s */
    int64_t send_stall_ms;         /* no byte accepted by the client for so long: cut. default 60 s */
    int64_t body_rate_bytes_per_s; /* request bodies slower than this over 10 s: 408 and close. default 1 KiB/s */
    unsigned conns_per_addr;       /* connections from one address; over: 503 and close. 0: no limit. default 2048 */
    unsigned conns; /* in all; the one idle for longest, or still in its head, makes room. default 20000 */
};
void http_limits_default(struct http_limits *l);

/* Facts of a finished request, for the access log and metrics. Strings are borrowed for the call. */
struct http_access {
    const char *remote, *method, *target, *host, *user_agent, *request_id, *note, *about;
    int status;
    int64_t body_bytes_sent, body_bytes_received, duration_us, first_byte_us;
    bool aborted; /* the connection was cut before the answer was complete */
};

enum http_tls_mode {
    HTTP_TLS_OFF,
    HTTP_TLS_ON,
    HTTP_TLS_EITHER, /* the first byte tells: 0x16 is TLS, else plain */
};

/* What goes with the body of an error the server itself answers with. Static strings. */
struct http_error_form {
    const char *content_type;
    const char *lines; /* whole header lines, each ending in CR LF; "" */
};

struct http_server_config {
    const char
        *address; /* "host:port", ":port", "[v6]:port" or "unix:/path" (mode 0600). Borrowed for http_server_new */
    struct loop **loops; /* the serving loops; a unix address uses only the first. Array borrowed for http_server_new */
    unsigned n_loops;
    enum http_tls_mode tls_mode;
    struct tls_server *tls; /* borrowed; needed unless HTTP_TLS_OFF; must outlive the server */
    struct http_limits limits;
    /* Reads what is not in the page cache before it is sent; NULL: the loop waits for the disk. Must outlive the server
     * and all that was submitted to it. */
    struct workpool *reads;
    void (*handler)(struct http_req *req, void *arg);
    /* NULL: none. Called on the serving loop when a request is done. */
    void (*access)(const struct http_access *a, void *arg);
    /* Writes the body of an error the server itself answers with (400, 408, 413, 431, 501, 503) into buf, fills *form
     * and returns the body's length; NULL: plain text. target may be "" when the head was unreadable. */
    size_t (*error_body)(int status, const char *target, const char *msg, char *buf, size_t cap,
                         struct http_error_form *form);
    void *arg; /* for handler and access */
};

/* Control thread, before the loops start: binds and listens on all loops before it returns (port 0: all loops share the
 * one chosen). Failure says the address and what to try (port in use: by what key it is changed). The process ignores
 * SIGPIPE (daemon.h): sendfile and TLS have no MSG_NOSIGNAL. */
int http_server_new(struct http_server **out, const struct http_server_config *cfg, struct error *err) must_check;
/* The port bound (0 for unix). Any thread. */
unsigned http_server_port(const struct http_server *s);
/* Any thread: stops accepting, closes idle connections, lets running requests finish with "Connection: close"; after
 * grace_ms cuts the rest. done(arg) is called on the first loop when no connection is left. Once. */
void http_server_drain(struct http_server *s, int64_t grace_ms, void (*done)(void *arg), void *arg);
/* After drain has called done, or before the loops have run. Control thread. */
void http_server_free(struct http_server *s);
/* Gauges and counters, any thread. */
struct http_stats {
    int64_t connections, accepted, refused, requests, bad_requests;
};
void http_server_stats(const struct http_server *s, struct http_stats *out);

/* --- the request --- */
enum http_method http_req_method(const struct http_req *r);
const char *http_req_method_str(const struct http_req *r);
/* The raw request target ("/v2/a%2Fb?ns=x"), checked to be visible ASCII; absolute-form is already reduced to path and
 * query. */
const char *http_req_target(const struct http_req *r);
/* The first header of that name (case-insensitive), or NULL. Repeated list headers are joined by ", ". Valid until
 * on_close. */
const char *http_req_header(const struct http_req *r, const char *name);
/* The client's address without port, text ("unix" for a UNIX socket). */
const char *http_req_remote(const struct http_req *r);
/* Who has connected; false for a UNIX socket. */
bool http_req_peer(const struct http_req *r, struct ip *out);
/* For whom the peer speaks, which http_req_remote and the access log tell from now on. */
void http_req_set_remote(struct http_req *r, const struct ip *client);
bool http_req_is_tls(const struct http_req *r);
/* The id that follows the request: the client's X-Request-Id when it is 1–64 of [A-Za-z0-9._-], else a fresh one. */
const char *http_req_id(const struct http_req *r);
/* When its head began to come: monotonic. */
int64_t http_req_began_ms(const struct http_req *r);
struct loop *http_req_loop(const struct http_req *r);
/* A short note for the access log ("hit", "miss"); borrowed static string. */
void http_req_note(struct http_req *r, const char *note);
/* What the request is about, for the access log; borrowed until on_close. */
void http_req_about(struct http_req *r, const char *about);
/* Data of the handler. */
/* The answer is here and only has to be read from a disk: a client that has shut down its sending side still gets it,
 * as it would have at once. One that waits for us to find something is taken to be gone. */
void http_req_answer_is_near(struct http_req *r);
void http_req_set_user(struct http_req *r, void *user);
void *http_req_user(const struct http_req *r);
/* cut: the answer did not leave completely. */
void http_req_on_close(struct http_req *r, void (*fn)(struct http_req *r, bool cut));

/* For an answer without an end, after http_reply_begin: fn is called once when the server is being drained, at once if
 * it is already, so that it can be ended. */
void http_req_on_stop(struct http_req *r, void (*fn)(struct http_req *r));

/* --- request bodies. A handler that wants the body calls http_req_read_body before it returns; otherwise the body is
 * dropped after the answer if it is at most 64 KiB and already here, else the connection closes after the answer.
 * "Expect: 100-continue" is answered only when reading starts. --- */
struct http_body_sink {
    /* Up to len bytes have come; return how many were taken. Taking fewer pauses reading until http_req_resume_body.
     * Not called any more once the answer has ended. */
    size_t (*data)(struct http_req *r, const void *data, size_t len);
    void (*end)(struct http_req *r); /* whole body received */
    /* There is no error callback: a body that breaks (bad chunk, too long, too slow) is answered by the server if no
     * answer has begun, else cut, as it is when the client is gone; on_close follows without end having been called. */
};
/* limit: bytes; a declared or received longer body is answered 413, after which what the handler answers is not heard.
 * sink must outlive the request; end is called from within if there is no body. */
void http_req_read_body(struct http_req *r, const struct http_body_sink *sink, int64_t limit);
/* Also from within the sink. Goes on from the loop, not from here. */
void http_req_resume_body(struct http_req *r);
/* Collects a whole small body (limit at most 1 MiB), then calls fn once. */
void http_req_collect_body(struct http_req *r, size_t limit,
                           void (*fn)(struct http_req *r, const char *body, size_t len));

/* --- the answer --- */
/* Adds a header to the answer to come; name and value are copied; CR, LF and NUL in a value are replaced by spaces. */
void http_reply_header(struct http_req *r, const char *name, const char *value);
void http_reply_header_number(struct http_req *r, const char *name, uint64_t n);
void http_reply_headerf(struct http_req *r, const char *name, const char *fmt, ...) printf_like(3, 4);
/* Adds whole header lines, each ending in CR LF, that the caller knows to be good. */
void http_reply_lines(struct http_req *r, const char *lines, size_t len);
/* A whole answer from memory (copied). For HEAD the body is left out and its length kept. len 0 is fine. 204 and 304
 * carry none. */
void http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t len);
/* As http_reply, the body is not copied: release(arg) is called when it has left or never will. */
void http_reply_ref(struct http_req *r, int status, const char *content_type, const void *body, size_t len,
                    void (*release)(void *arg), void *arg);
/* Starts a streamed answer. content_length -1: chunked (or close-delimited for HTTP/1.0). The head leaves at once. For
 * HEAD, 204 and 304 the answer is complete after http_reply_end and all body calls are ignored. With a content_length,
 * exactly so many bytes must be appended: more stay here, and after more or fewer the connection closes. */
void http_reply_begin(struct http_req *r, int status, const char *content_type, int64_t content_length);
/* Appends bytes (copied) / a range of a file (referenced). May be called from within callbacks; segments leave in
 * order. */
void http_body_mem(struct http_req *r, const void *data, size_t len);
/* As http_body_mem, the bytes are not copied: release(arg) is called when they have left or never will. */
void http_body_ref(struct http_req *r, const void *data, size_t len, void (*release)(void *arg), void *arg);
/* The file: a reference of its own is taken. */
void http_body_file(struct http_req *r, struct open_file *f, int64_t offset, int64_t len);
/* The same for what has just been written: it is in memory, and need not be looked for there. */
void http_body_file_fresh(struct http_req *r, struct open_file *f, int64_t offset, int64_t len);
/* fn is called when a disk does not give back what http_body_file appended, of an answer whose length was told: with
 * the number of bytes at its end that have not left and never will. fn appends them from elsewhere, now or later, and
 * ends the answer again, or aborts. Without it the connection is cut. */
void http_body_on_unreadable(struct http_req *r, void (*fn)(struct http_req *r, int64_t left));
/* Bytes appended and not yet handed to the kernel. */
int64_t http_body_pending(const struct http_req *r);
/* fn is called, once each time it is set, when http_body_pending is below low_water bytes: if it already is, soon, from
 * the loop. */
void http_body_on_drain(struct http_req *r, int64_t low_water, void (*fn)(struct http_req *r));
void http_reply_end(struct http_req *r);
/* Cuts the connection: the client sees a short body, never a complete wrong one. If nothing has left yet and no begin
 * was called, answers 500. */
void http_reply_abort(struct http_req *r);
bool http_reply_started(const struct http_req *r);

#endif
