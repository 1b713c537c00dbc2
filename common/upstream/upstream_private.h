/* The inside of an upstream, shared by the files of this folder only. Thread: the fetch loop, but for what is marked.
 */
#ifndef ENTREPOT_UPSTREAM_PRIVATE_H
#define ENTREPOT_UPSTREAM_PRIVATE_H

#include <pthread.h>

#include "common/upstream/challenge.h"
#include "common/upstream/named.h"
#include "common/upstream/pull_share.h"
#include "common/upstream/ratelimit.h"
#include "common/upstream/speed.h"
#include "common/upstream/token.h"
#include "common/upstream/upstream.h"
#include "common/access/share.h"
#include "common/core/buf.h"

struct endpoint {
    struct upstream *u;
    const char *url;
    struct http_url parts;
    unsigned bit; /* its place in masks */
    bool usable;  /* the URL parses */
    int below_v2; /* where the path after its "/v2/" begins in url; -1: the URL has no such part */
    /* Health. */
    bool down;
    unsigned failures; /* failures to reach it, in a row */
    int64_t failing_since_ms;
    int64_t unhealthy_until_ms; /* it answered 5xx: others first for a while */
    int64_t avoid_until_ms;     /* a body of its was too slow, broke off or was wrong: likewise */
    struct speed speed;
    int64_t latency_us;
    int64_t used_ms;
    int64_t back_off_ms;
    int64_t probe_sent_us;
    struct timer probe;
    struct http_call *probe_call;
    /* Sign-in, as its last 401 told. */
    bool knows_bearer, knows_basic;
    struct challenge challenge;
    enum http_reach reach;       /* which addresses it may name */
    int64_t no_head_until_ms[2]; /* manifests, blobs: HEAD is refused where GET works */
    struct ratelimit limit;
    struct pull_share pulls;
    /* Any thread: mirrors. */
    atomic_bool shown_down, shown_failing;
    _Atomic int64_t shown_latency_us, shown_failures, shown_limit, shown_remaining, shown_window_s;
    _Atomic int64_t shown_until_ms; /* no pull is asked for before */
    char last_error[256];           /* guarded by u->lock */
};

struct upstream {
    struct source source;
    const struct upstream_config *cfg;
    const struct upstream_limits *limits;
    struct loop *loop;
    struct http_client *client;
    struct token_cache *tokens;
    struct named *named;
    struct upstream_held held;
    struct endpoint endpoints[UPSTREAM_ENDPOINTS_MAX];
    unsigned n_endpoints;
    struct timer measure;
    bool used; /* since the last measurement */
    /* Shared among callers. Small requests and blobs leave places to each other, so that a small request does not wait
     * behind a dozen large layers, nor a layer behind a thousand small requests. */
    struct share *places;
    struct up_fetch *fetches; /* all */
    pthread_mutex_t lock;     /* guards the endpoints' last_error, for a copy's time */
    _Atomic int64_t requests, failures, sent, retries, redirects, bytes, tokens_fetched, rate_limited, pulls_kept;
};

/* endpoint.c */
/* Appends the URL of rq at this endpoint. */
int endpoint_target(const struct endpoint *e, const struct fetch_request *rq, struct buf *out) must_check;
/* The repository as the registry itself names it: one below /v2/PROJECT is PROJECT/path. */
void endpoint_repository(const struct endpoint *e, const char *path, char *out, size_t cap);
void endpoint_init(struct endpoint *e, struct upstream *u, const char *url, unsigned i);
void endpoint_fini(struct endpoint *e);
/* The best of those not in the mask that may be asked; counts: the request counts as a pull. NULL: none. */
struct endpoint *endpoint_choose(struct upstream *u, unsigned without, bool counts);
void endpoint_answered(struct endpoint *e, int status, int64_t latency_us);
void endpoint_unreachable(struct endpoint *e, const char *why);
/* One of its bodies was too slow, broke off or was wrong: others first for a while. */
void endpoint_avoid(struct endpoint *e, const char *why);
/* True if an endpoint that is not in the mask and has no known trouble could be asked instead. */
bool endpoint_another(const struct endpoint *e, unsigned without);
void endpoint_show_limit(struct endpoint *e);
void endpoints_measure(void *upstream);

/* upstream.c: places. ERR_BUSY: too much of its caller's waits already. */
int upstream_enqueue(struct upstream *u, struct up_fetch *f, const struct fetch_request *rq) must_check;
/* Gives the place back, or stops waiting. */
void upstream_leave(struct upstream *u, struct up_fetch *f);

/* upstream_request.c: one logical request. What a slot's queue sees of it comes first. */
struct up_fetch {
    struct fetch fetch; /* first */
    struct upstream *u;
    bool blob;
    struct share_entry place;
    struct up_fetch *next, **link; /* all */
};
void up_fetch_admitted(struct up_fetch *f);
/* Of a body that comes: bytes a second, or -1 if it is nearly over. */
int64_t up_fetch_speed(const struct up_fetch *f);
/* Ends f, because its place goes to another fetch; its caller must ask for the rest. f is freed. */
void up_fetch_give_way(struct up_fetch *f);
struct fetch *up_fetch_start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev,
                             void *arg);
void up_fetch_cancel(struct fetch *fetch);
void up_fetch_pause(struct fetch *fetch);
void up_fetch_resume(struct fetch *fetch);
void up_fetch_wanted_by(struct fetch *fetch, const struct caller *caller);

#endif
