/* For doctor: checks whether registries answer, and whether their clocks agree with ours. Asks GET /v2/ (or another
 * path) of several at once. The calls run on one fetch loop while the caller waits in the work pool. A node that stops
 * ends the calls before it ends the loop, so that no caller waits for a loop that is gone. Thread: as each function
 * says. */
#ifndef ENTREPOT_NODE_PROBE_H
#define ENTREPOT_NODE_PROBE_H

#include "common/core/buf.h"
#include "common/core/network.h"
#include "common/http/client.h"

struct probe {
    const char *url;     /* base, without /v2/; borrowed */
    const char *ca_file; /* NULL: the system's */
    bool insecure_tls, use_proxy_env;
    const char *by_proxy;       /* as proxy of struct http_call_spec; borrowed */
    const struct http_tls *tls; /* instead of the two above; NULL: none; borrowed */
    const char *path;           /* NULL: /v2/; borrowed */
    struct buf *body;           /* where the body of a 200 is written, as far as it fits; may be NULL */
    const void *post;           /* a body to be posted; NULL: a GET. Borrowed */
    size_t post_len;
    bool alone; /* this and segment: as in struct http_call_spec */
    unsigned segment;
    /* Answered: */
    bool ok;         /* there was an HTTP answer; a 401 is one, too */
    int status;      /* 0: none */
    char proxy[160]; /* a proxy that may have answered itself; "": none */
    char content_type[64];
    char refused[224];  /* why a central refuses this edge (REFUSED_HEADER); "": it does not */
    char location[256]; /* where it redirects to, as far as it fits; "": nowhere */
    char message[256];
    bool certificate_time; /* its certificate looks expired or not yet valid, by our clock */
    bool has_skew;
    int64_t skew_s; /* our time minus theirs */
    int code;       /* 0, or why there is no whole answer; as in struct http_result, and the next two likewise */
    bool connected, secured;
    bool v6;                 /* it came by IPv6 */
    struct ip seen;          /* the address that a node of ours says we come from; all zero: it does not */
    char local[IP_TEXT_MAX]; /* as in struct http_answer */
    int64_t began_us, head_us, done_us, body_bytes; /* monotonic; head_us 0: no head has come */
};

struct probes;

/* Control thread. Loop and client must outlive it. */
struct probes *probes_new(struct loop *l, struct http_client *client);
/* Control thread, only when nothing runs: after probes_stop has called done, or if the loop never ran. */
void probes_free(struct probes *p);
/* Work pool. Asks all and returns when all have ended, after about timeout_ms at the latest; at once if the node stops.
 * The loop must be running, or probes_stop must have been called. */
void probes_ask(struct probes *p, struct probe *list, size_t n, int64_t timeout_ms);
/* Any thread, once. Ends running calls and refuses later ones; both get the reason. done is called on the loop when
 * nobody waits for it any more. */
void probes_stop(struct probes *p, void (*done)(void *arg), void *arg);

#endif
