/* One upstream registry as a source: endpoints ranked by health and speed, sign-in, redirects, retries, its pull limit,
 * and a limit on running requests (distribution-spec; docs/architecture.md "A fill"). Thread: the fetch loop it was
 * made for, unless a function says otherwise. */
#ifndef ENTREPOT_UPSTREAM_UPSTREAM_H
#define ENTREPOT_UPSTREAM_UPSTREAM_H

#include "common/access/share.h"
#include "common/source/source.h"
#include "common/http/client.h"
#include "common/upstream/upstream_config.h"

struct upstream;

/* Times and counts. Where a pointer to this is taken, NULL means these defaults. */
struct upstream_limits {
    int64_t connect_ms;           /* 4,000 */
    int64_t head_ms;              /* 10,000: one try, to the head of its answer */
    int64_t stall_ms;             /* 5,000: no byte of a body */
    int64_t pace_ms;              /* 5,000: how often the speed of a body is looked at */
    int64_t budget_ms;            /* 15,000: all tries together, to the first byte; clients give up soon after */
    unsigned queue_of_one, queue; /* 256, 4,096: may wait for one of max_parallel, of a caller and of all */
    int64_t queue_ms;             /* 20,000: waiting for one of max_parallel (manifests and questions; blobs wait on) */
    int64_t back_off_ms; /* 200: before the second round over the endpoints, then doubled; a random part is taken off */
    unsigned rounds;     /* 3 */
    int64_t retry_after_s; /* 5: a Retry-After up to this is waited for */
    int64_t down_after_ms; /* 1,000: failing for so long, an endpoint is not asked until a probe reaches it */
    int64_t probe_ms;      /* 250: first probe of an endpoint that could not be reached, then doubled */
    int64_t probe_max_ms;  /* 10,000 */
    int64_t measure_ms;    /* 30,000: how often endpoints that are not used are measured, if others are */
};
extern const struct upstream_limits upstream_limits_default;

/* Says whether this node holds another manifest for a tag than this one, which serves its clients well while this one
 * cannot be had by its digest. Called on the fetch loop. */
struct upstream_held {
    bool (*another)(const struct repo_name *repo, const char *tag, const struct digest *manifest, void *arg);
    void *arg;
};

/* cfg and limits are borrowed for ever. */
struct upstream *upstream_new(const struct upstream_config *cfg, const struct upstream_limits *limits, struct loop *l,
                              struct http_client *client);
/* Ends running requests without callbacks. Call it on the loop's thread, or when the loop does not run. */
void upstream_free(struct upstream *u);
/* Before its first request; without it nothing is held. */
void upstream_set_held(struct upstream *u, const struct upstream_held *held);
struct source *upstream_source(struct upstream *u);
/* Any thread. */
const struct upstream_config *upstream_config(const struct upstream *u);

/* Any thread. Counts since the start. */
struct upstream_stats {
    int64_t requests; /* requests to this source */
    int64_t failures; /* of them, ended with an error other than "not found" */
    int64_t sent;     /* HTTP requests sent to registries and the hosts they redirect to */
    int64_t retries, redirects, bytes;
    int64_t tokens;       /* tokens fetched */
    int64_t rate_limited; /* ended with ERR_RATE_LIMITED */
    int64_t pulls_kept;   /* of those, not sent because what was left of the limit is for other callers */
    int64_t active, waiting;
    int64_t limit, remaining, window_s; /* the registry's own pull limit: the least any endpoint has left; -1 unknown */
    int64_t wait_s;                     /* seconds until it may be asked for a pull; 0: now */
    bool reachable;                     /* an endpoint is not down: it would be asked */
    bool answers;                       /* an endpoint could be reached when it was last tried, or was not tried yet */
};
void upstream_stats(const struct upstream *u, struct upstream_stats *out);

struct upstream_endpoint_state {
    const char *url;
    bool up, answers;   /* as above */
    int64_t latency_us; /* moving average to the head of an answer; 0 unknown */
    int64_t failures;   /* could not be reached, since the start */
    char last_error[256];
};
/* Its places (max_parallel), as they are shared among callers. Any thread. */
void upstream_places(const struct upstream *u, struct share_stats *out);
/* Any thread. Returns their number; out has room for UPSTREAM_ENDPOINTS_MAX. */
unsigned upstream_endpoints(struct upstream *u, struct upstream_endpoint_state *out);

#endif
