/* An HTTP client (RFC 9110, RFC 9112) on libcurl multi, driven by one loop. Thread: the loop given to http_client_new,
 * for everything here, unless a function says otherwise. */
#ifndef ENTREPOT_HTTP_CLIENT_H
#define ENTREPOT_HTTP_CLIENT_H

#include "common/core/error.h"
#include "common/core/loop.h"

#include <openssl/types.h>
#include <sys/socket.h>

struct http_client;
struct http_call;

struct http_client *http_client_new(struct loop *l);
void http_client_free(struct http_client *c);

/* Which addresses a URL's host may resolve to. The address of every connection is checked after DNS, so a name cannot
 * hide an address. A URL that another server names (a token's realm, a redirect) may lead no closer to this machine
 * than that server itself is. */
enum http_reach {
    HTTP_REACH_ANY,     /* a configured endpoint: any address */
    HTTP_REACH_PUBLIC,  /* no loopback, link-local, private, multicast, unspecified, reserved or mapped forms of them */
    HTTP_REACH_PRIVATE, /* as PUBLIC, but private networks too */
    HTTP_REACH_LOOPBACK, /* as PRIVATE, but this machine too */
};

/* How a connection to a node of our own is secured, instead of by the system's authorities. Connections that were made
 * with another certificate are not used. */
struct http_tls {
    const char *cert_pem, *key_pem; /* ours: a chain and its key. NULL: none is shown. Copied by http_call_start */
    const char *const *headers;     /* further lines of each request, NULL-ended; may be NULL. Copied */
    /* Sets up how the other end of a new connection is verified. It and arg must outlive the client. */
    void (*prepare)(SSL_CTX *ctx, void *arg);
    /* Why the other end of the last connection was refused, for a person; "": it was not. */
    const char *(*why)(void *arg);
    void *arg;
};

#define HTTP_PROXY_OFF "off"

/* A request. All strings are copied by http_call_start. */
struct http_call_spec {
    const char *method;         /* "GET", "HEAD", "POST" */
    const char *url;            /* http:// or https:// only */
    const char *const *headers; /* "Name: value", NULL-ended; may be NULL */
    const void *body;           /* POST */
    size_t body_len;
    const char *ca_file;             /* PEM bundle instead of the system's; NULL: system's */
    bool insecure_tls;               /* do not verify; only for loopback peers */
    const struct http_tls *tls;      /* for https, instead of the two above; borrowed for the call. NULL: none */
    const char *unix_socket;         /* NULL: TCP */
    const char *username, *password; /* Basic; NULL: none */
    enum http_reach reach;
    bool use_proxy_env; /* http_proxy, https_proxy, no_proxy and upper-case forms */
    const char *proxy;  /* a proxy's URL, or HTTP_PROXY_OFF, whatever the environment says; NULL: as use_proxy_env */
    /* Small things that nobody waits for: those of one client are sent one after the other, so that they share a
     * connection. One that has waited for 2 s is sent all the same. Time-outs count from when it is sent. */
    bool in_turn;
    bool alone;         /* on a new connection that resumes no TLS session and is not kept */
    unsigned segment;   /* with alone: no TCP segment, either way, has more bytes than this. 0: as the system has it */
    int64_t connect_ms; /* default 5,000 */
    int64_t head_ms;    /* from start to the end of the answer's head; default 30,000 */
    int64_t stall_ms;   /* no body byte for so long: ERR_TIMEOUT; default 5,000; not counted while paused */
    int64_t total_ms;   /* 0: none */
    int64_t max_body;   /* over: ERR_TOO_BIG; 0: no limit */
};

/* The head of an answer. Borrowed for the callback. Redirects are not followed here: the caller decides. */
struct http_answer {
    int status;
    int64_t content_length; /* -1 unknown */
    /* The last header of that name (case-insensitive), or NULL. All heads together are limited to 64 KiB. */
    const char *(*header)(const struct http_answer *a, const char *name);
    /* The i-th of that name, or NULL. */
    const char *(*header_at)(const struct http_answer *a, const char *name, unsigned i);
    const char *remote;    /* "ip:port"; behind a proxy, the proxy's */
    const char *local;     /* "ip" of this end of the connection; "": not known */
    const char *proxy;     /* "host:port" of a proxy that may itself have made this answer (plain http); NULL: none */
    enum http_reach reach; /* what URLs in it may reach: by the server's address; behind a proxy by its host */
};

/* In the message of a call whose server has taken the connection and sent nothing more. */
#define HTTP_HANDSHAKE_HANGS "its TLS handshake hangs"

/* How a call ended. code 0: the answer is complete and has the length its head said. Borrowed for the callback. */
struct http_result {
    int code;      /* 0, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_UPSTREAM (reset, short, protocol), ERR_TOO_BIG, ERR_DENIED
                      (address refused by reach). A proxy that refuses or cannot be reached is ERR_UNREACHABLE. */
    int status;    /* HTTP status if a head came, else 0 */
    char msg[256]; /* for a person: "connect to 127.0.0.1:5001: connection refused" */
    int64_t body_bytes;
    bool connected, secured; /* of a call that is alone: its connection (behind a proxy: to that) and TLS were there */
    bool refused; /* the other end refused the connection or closed it without an answer: a machine is there, but no
                     program that serves. It may be noticed late, if this one is busy. */
};

struct http_call_events {
    /* head and data may be NULL; then nobody is told. 1xx answers are not reported.
     *
     * Return false to end the call: it is freed, and no further callback is made, not even done. */
    bool (*head)(struct http_call *call, const struct http_answer *a, void *arg);
    /* A part of the body. Return false as for head. To pause, call http_call_pause before returning true; this part
     * counts as taken. */
    bool (*data)(struct http_call *call, const void *data, size_t len, void *arg);
    /* The last callback; the call is freed after it returns. */
    void (*done)(struct http_call *call, const struct http_result *r, void *arg);
    /* May be NULL. Data has come and no more is available now, so a callback that gathers small parts should pass them
     * on. Return false as for head. */
    bool (*lull)(struct http_call *call, void *arg);
};

/* Starts a call. No callback is made before it has returned. A bad URL is reported by done(ERR_INVALID). */
struct http_call *http_call_start(struct http_client *c, const struct http_call_spec *spec,
                                  const struct http_call_events *ev, void *arg);
/* Ends and frees the call without further callbacks (within its own head or data: frees it once they have returned). A
 * call may be cancelled from any callback of another; from its own done it is a no-op. */
void http_call_cancel(struct http_call *call);
/* Pauses the body: no data is reported until resume, but done may be. At any time, also within callbacks.
 * http_call_resume makes no callback before it has returned. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);

enum http_addr_class {
    HTTP_ADDR_PUBLIC,
    HTTP_ADDR_PRIVATE, /* RFC 1918, shared (100.64/10), unique local */
    HTTP_ADDR_LOOPBACK,
    HTTP_ADDR_LINK_LOCAL,
    HTTP_ADDR_SPECIAL, /* unspecified, multicast, reserved, documentation, benchmarks, not IP */
};
/* Any thread. Classifies an address. An IPv6 form that contains an IPv4 address counts as that address. */
enum http_addr_class http_addr_class(const struct sockaddr *sa);
/* Any thread. Classifies a host without resolving it: an address by its class, "localhost" as loopback, other names as
 * public. */
enum http_addr_class http_host_class(const char *host);
bool http_reach_allows(enum http_reach reach, enum http_addr_class to);
/* Any thread. What a server at such an address may name. */
enum http_reach http_reach_from(enum http_addr_class from);

/* Any thread. Splits "http://host:port/…" into scheme, host, port and path. False: it is not an http(s) URL, or
 * contains credentials. */
struct http_url {
    char scheme[8], host[256];
    unsigned port;
    const char *path; /* into url; "" if none */
};
bool http_url_parse(const char *url, struct http_url *out);
/* The proxy for u by the environment: http_proxy, https_proxy, all_proxy and no_proxy, and their upper-case forms.
 * Borrowed from the environment; NULL: none. *variable: the variable that names it. */
const char *http_proxy_for(const struct http_url *u, const char **variable);
/* A proxy's URL in parts, so that its password is given to libcurl only and never printed. */
struct http_proxy {
    char url[300];         /* without its user: "http://proxy:3128" */
    char place[280];       /* "proxy:3128", for people */
    char *user, *password; /* decoded; NULL: none */
};
/* Parses a proxy's URL. what: where it came from, for messages, which never show the value. ERR_INVALID: not a
 * valid URL. */
int http_proxy_read(const char *what, const char *value, struct http_proxy *out, struct error *err) must_check;
void http_proxy_fini(struct http_proxy *p);
/* Checks that all proxies in the environment can be parsed. ERR_INVALID. */
int http_proxies_check(struct error *err) must_check;
/* Resolves a Location against the URL that sent it (RFC 3986 section 5). The caller frees the result; NULL: not
 * usable. */
char *http_url_join(const char *base, const char *location);

#endif
