/* An HTTP/1.1 server on libevent events (RFC 9110, RFC 9112): keep-alive, pipelining, streamed bodies in both
 * directions, sendfile, TLS, limits and drain. Each serving loop listens on the address itself (SO_REUSEPORT), and a
 * connection stays on its loop. Thread: the serving loop that owns the request, unless a function says otherwise.
 *
 * The handler is called once a request's head has been checked. It answers now or later, exactly once:
 *   http_reply_*()                                                               a whole small answer, or
 *   http_reply_begin(); http_body_*()…; http_reply_end() or http_reply_abort()   a streamed one.
 *
 * The request stays valid until on_close has been called, and must not be used afterwards. on_close is called exactly
 * once for every request for which a handler has set it: when the answer has been sent or the connection is gone. */
#ifndef ENTREPOT_HTTP_SERVER_H
#define ENTREPOT_HTTP_SERVER_H

#include <openssl/types.h>

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
    /* Connections from one address, or of one that http_peers name; over: 503 and close. 0: no limit. default 2048 */
    unsigned conns_per_addr;
    const struct network *not_counted; /* from these networks any number; borrowed for as long as the server lives */
    size_t n_not_counted;
    unsigned conns; /* connections in all; over: the one idle longest, or still in its head, is closed. default 20000 */
};
void http_limits_default(struct http_limits *l);

/* What a client is told whose connection is over a limit. */
#define TOO_MANY_CONNECTIONS "too many connections"

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
    HTTP_TLS_EITHER, /* decided by the first byte: 0x16 is TLS, anything else plain */
};

/* Headers of an error that the server itself answers with. Static strings. */
struct http_error_form {
    const char *content_type;
    const char *lines; /* whole header lines, each ending in CR LF; "" */
};

/* The other end of a TLS connection, as its certificate names it. Made and freed by struct http_peers, which may hide
 * more behind it. */
struct http_peer {
    const char *name; /* for callers; "": nobody in particular */
};
/* Who shows a certificate. Thread: serving loop. */
struct http_peers {
    /* After the handshake. NULL: it has shown none. */
    struct http_peer *(*find)(SSL *ssl, void *arg);
    /* Asked once soon after the handshake, then when changes() is another than at the last time; that is looked at twice
     * a second. False: the connection is cut at once, whatever it is doing. */
    bool (*may_stay)(const struct http_peer *peer, void *arg);
    /* A number above 0 that is another after each change that may_stay may answer differently for. */
    uint64_t (*changes)(void *arg);
    void (*leave)(struct http_peer *peer, void *arg);
    void *arg;
};

struct http_server_config {
    const char
        *address; /* "host:port", ":port", "[v6]:port" or "unix:/path" (mode 0600). Borrowed for http_server_new */
    struct loop **loops; /* the serving loops; a unix address uses only the first. Array borrowed for http_server_new */
    unsigned n_loops;
    enum http_tls_mode tls_mode;
    struct tls_server *tls; /* borrowed; needed unless HTTP_TLS_OFF; must outlive the server */
    const struct http_peers
        *peers; /* NULL: certificates of the other ends are not asked for. As tls, must outlive it */
    struct http_limits limits;
    /* Threads that read what is not in the page cache before it is sent. NULL: the loop waits for the disk. Must
     * outlive the server and all jobs submitted to it. */
    struct workpool *reads;
    void (*handler)(struct http_req *req, void *arg);
    /* Called on the serving loop when a request is complete; may be NULL. */
    void (*access)(const struct http_access *a, void *arg);
    /* Writes the body of an error that the server itself answers with (400, 408, 413, 431, 501, 503) into buf, fills
     * *form and returns the body's length. May be NULL: plain text. target is "" if the head was unreadable. */
    size_t (*error_body)(int status, const char *target, const char *msg, char *buf, size_t cap,
                         struct http_error_form *form);
    void *arg; /* for handler and access */
};

/* Control thread, before the loops start. Binds and listens on all loops before it returns; with port 0 all loops share
 * the chosen port. An error says the address and what to try (port in use: which key changes it). The process must
 * ignore SIGPIPE (as node/daemon.h does), because sendfile and TLS have no MSG_NOSIGNAL. */
int http_server_new(struct http_server **out, const struct http_server_config *cfg, struct error *err) must_check;
/* Control thread: could it be listened on now? 0, or what http_server_new would say. Nothing is left open. */
int http_listen_check(const char *address, struct error *err) must_check;
/* The port (0 for a UNIX socket). Any thread. */
unsigned http_server_port(const struct http_server *s);
/* Any thread. Stops accepting, closes idle connections and lets running requests finish with "Connection: close"; cuts
 * the rest after grace_ms. done(arg) is called once, on the first loop, when no connection is left. */
void http_server_drain(struct http_server *s, int64_t grace_ms, void (*done)(void *arg), void *arg);
/* Control thread. Only after drain has called done, or before the loops have run. */
void http_server_free(struct http_server *s);
/* Gauges and counters, any thread. */
struct http_stats {
    int64_t connections, accepted, refused, requests, bad_requests;
};
void http_server_stats(const struct http_server *s, struct http_stats *out);

/* --- the request --- */
enum http_method http_req_method(const struct http_req *r);
/* The raw request target ("/v2/a%2Fb?ns=x"), checked to be visible ASCII; absolute-form is already reduced to path and
 * query. */
const char *http_req_target(const struct http_req *r);
/* The first header of that name (case-insensitive), or NULL. Repeated list headers are joined by ", ". Valid until
 * on_close. */
const char *http_req_header(const struct http_req *r, const char *name);
/* The address of the connection's other end. False: it is a UNIX socket. */
bool http_req_peer(const struct http_req *r, struct ip *out);
/* True if the connection is TLS. */
bool http_req_is_tls(const struct http_req *r);
/* The certified other end of its connection; NULL: it has shown no certificate. Valid until on_close. */
const struct http_peer *http_req_certified(const struct http_req *r);
/* The descriptor that a process on this machine passed over the UNIX socket with this request or before it; -1: none.
 * The caller closes it. */
int http_req_take_passed(struct http_req *r) must_check;
/* Sets the client for which a proxy sent this request. The access log then shows it. */
void http_req_set_remote(struct http_req *r, const struct ip *client);
/* For whom jobs of the pool that reads from the disk for this connection are, from now on (core/workpool.h). */
void http_req_asked_by(struct http_req *r, uint64_t whose);
/* The request's id: the client's X-Request-Id if it is 1 to 64 characters of [A-Za-z0-9._-], else a new one. */
const char *http_req_id(const struct http_req *r);
/* When the first byte of its head arrived, in milliseconds of the monotonic clock. */
int64_t http_req_began_ms(const struct http_req *r);
struct loop *http_req_loop(const struct http_req *r);
/* A short note for the access log ("hit", "miss", "direct"); borrowed static string. */
void http_req_note(struct http_req *r, const char *note);
/* What the request is about, for the access log; borrowed until on_close. */
void http_req_about(struct http_req *r, const char *about);
/* Says that the answer is held and only has to be read from a disk. Then a client that has shut down its sending side
 * still gets it, as it would have at once. Without this call such a client is taken to be gone. */
void http_req_answer_is_held(struct http_req *r);
/* A pointer for the handler's own use. */
void http_req_set_user(struct http_req *r, void *user);
void *http_req_user(const struct http_req *r);
/* Sets the function that is called at the end of the request. cut: the answer was not sent completely. */
void http_req_on_close(struct http_req *r, void (*fn)(struct http_req *r, bool cut));

/* For an answer without an end, after http_reply_begin: fn is called once when the server is drained (at once if it
 * already is), so that it can end the answer. */
void http_req_on_stop(struct http_req *r, void (*fn)(struct http_req *r));

/* --- request bodies. A handler that wants the body calls http_req_read_body before it returns; otherwise the body is
 * dropped after the answer if it is at most 64 KiB and already here, else the connection closes after the answer.
 * "Expect: 100-continue" is answered only when reading starts. --- */
struct http_body_sink {
    /* Called with len bytes of the body; returns how many were taken. Taking fewer pauses reading until
     * http_req_resume_body. Not called any more once the answer has ended. */
    size_t (*data)(struct http_req *r, const void *data, size_t len);
    void (*end)(struct http_req *r); /* the whole body was received */
    /* There is no error callback. If a body breaks (bad chunk, too long, too slow, client gone), the server answers the
     * request if no answer has begun, else cuts the connection. Then on_close is called, but not end. */
};
/* Reads the body. limit: bytes; a longer body is answered with 413, and what the handler answers afterwards is ignored.
 * sink must outlive the request. If there is no body, end is called before this returns. */
void http_req_read_body(struct http_req *r, const struct http_body_sink *sink, int64_t limit);
/* Goes on reading, later, from the loop. May be called from within the sink. */
void http_req_resume_body(struct http_req *r);
/* Collects a whole small body (limit at most 1 MiB), then calls fn once. The body is freed when fn returns. */
void http_req_collect_body(struct http_req *r, size_t limit,
                           void (*fn)(struct http_req *r, const char *body, size_t len));

/* --- the answer --- */
/* Adds a header to the answer that follows. Name and value are copied; CR, LF and NUL in a value become spaces. */
void http_reply_header(struct http_req *r, const char *name, const char *value);
void http_reply_header_number(struct http_req *r, const char *name, uint64_t n);
void http_reply_headerf(struct http_req *r, const char *name, const char *fmt, ...) printf_like(3, 4);
/* Adds whole header lines, each ending in CR LF, which the caller has checked. */
void http_reply_lines(struct http_req *r, const char *lines, size_t len);
/* Sends a whole answer from memory, which is copied. For HEAD the body is left out and its length kept. len may be 0.
 * 204 and 304 have no body. */
void http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t len);
/* A short answer for a person: the text and a line end. With 503: to be asked again in a second. */
void http_reply_text(struct http_req *r, int status, const char *text);
/* As http_reply, but the body is not copied: release(arg) is called when it has been sent or never will be. */
void http_reply_ref(struct http_req *r, int status, const char *content_type, const void *body, size_t len,
                    void (*release)(void *arg), void *arg);
/* Starts a streamed answer and sends its head. content_length -1: chunked (for HTTP/1.0: ended by close). For HEAD, 204
 * and 304 the answer is complete after http_reply_end, and all body calls are ignored. With a content_length exactly so
 * many bytes must be appended: more are not sent, and after more or fewer the connection is closed. */
void http_reply_begin(struct http_req *r, int status, const char *content_type, int64_t content_length);
/* Appends bytes, which are copied. May be called from within callbacks. What is appended is sent in order. */
void http_body_mem(struct http_req *r, const void *data, size_t len);
/* As http_body_mem, but the bytes are not copied: release(arg) is called when they have been sent or never will be. */
void http_body_ref(struct http_req *r, const void *data, size_t len, void (*release)(void *arg), void *arg);
/* Appends len bytes of a file from offset. Takes a reference of its own. */
void http_body_file(struct http_req *r, struct open_file *f, int64_t offset, int64_t len);
/* The same for bytes that were just written, so that they are in memory and need not be looked for there. */
void http_body_file_fresh(struct http_req *r, struct open_file *f, int64_t offset, int64_t len);
/* fn is called when the disk fails to return bytes that http_body_file appended to an answer with a content_length.
 * left: how many bytes at the end of the answer have not been sent and will not be. fn appends them from elsewhere, now
 * or later, and ends the answer again, or aborts. Without fn the connection is cut. */
void http_body_on_unreadable(struct http_req *r, void (*fn)(struct http_req *r, int64_t left));
/* Takes back the bytes of files that were appended and not yet given to the kernel, in an answer with a content_length.
 * Returns their number: append them again, from elsewhere, now or later, and end the answer again. -1: that cannot be
 * done, because other bytes wait to be sent before them; nothing has changed. */
int64_t http_body_withdraw(struct http_req *r) must_check;
/* For an answer without an end: of what the kernel has got no more than about so many bytes wait to be put on their way.
 * Else a client that does not read costs as much memory there as a fast one's window, often megabytes. */
void http_body_limit_unsent(struct http_req *r, int bytes);
/* Bytes that were appended and not yet given to the kernel. */
int64_t http_body_pending(const struct http_req *r);
/* Calls fn once, from the loop, when http_body_pending is below low_water bytes; soon, if it already is. */
void http_body_on_drain(struct http_req *r, int64_t low_water, void (*fn)(struct http_req *r));
void http_reply_end(struct http_req *r);
/* Cuts the connection, so that the client sees a truncated body and never a wrong complete one. If nothing was sent yet
 * and http_reply_begin was not called, answers 500. */
void http_reply_abort(struct http_req *r);
bool http_reply_started(const struct http_req *r);

#endif
