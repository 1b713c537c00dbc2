/* Is a registry there, and does its clock agree with ours? For doctor: asks GET /v2/ (or another path) of several at
 * once. The calls run on one fetch loop; whoever asks waits in the work pool. A node that stops ends them before it
 * ends the loop, so that nobody waits for a loop that has gone. */
#ifndef ENTREPOT_NODE_PROBE_H
#define ENTREPOT_NODE_PROBE_H

#include "common/core/buf.h"
#include "common/http/client.h"

struct probe {
    const char *url;     /* base, without /v2/; borrowed */
    const char *ca_file; /* NULL: the system's */
    bool insecure_tls, use_proxy_env;
    const char *path; /* NULL: /v2/; borrowed */
    struct buf *body; /* NULL, or where the body of a 200 goes, as far as it has room */
    /* Answered: */
    bool ok;         /* any HTTP answer: a 401 is a registry, too */
    int status;      /* 0: none */
    char proxy[160]; /* that may have answered itself; "": none */
    char content_type[64];
    char message[256];
    bool certificate_time; /* its certificate looks expired or not yet valid, by our clock */
    bool has_skew;
    int64_t skew_s; /* our time less theirs */
};

struct probes;

/* Control thread. Loop and client must outlive it. */
struct probes *probes_new(struct loop *l, struct http_client *client);
/* Control thread, once nothing runs: after probes_stop has called back, or if the loop never ran. */
void probes_free(struct probes *p);
/* Work pool: asks all and returns when all have ended, after about timeout_ms at the latest; at once when the node
 * stops. The loop must be running, or probes_stop have been called. */
void probes_ask(struct probes *p, struct probe *list, size_t n, int64_t timeout_ms);
/* Any thread, once: what runs ends, what comes later is not begun; both are told why. done runs on the loop when nobody
 * waits for the loop any more. */
void probes_stop(struct probes *p, void (*done)(void *arg), void *arg);

#endif
