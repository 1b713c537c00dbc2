/* Is a registry there, and does its clock agree with ours? For doctor: asks GET /v2/ (or another path) of several at
 * once. Thread: work pool (waits). */
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

/* Runs all on l's client and returns when all have ended, after about timeout_ms at the latest. The loop must be
 * running. */
void probe_all(struct loop *l, struct http_client *client, struct probe *probes, size_t n, int64_t timeout_ms);

#endif
