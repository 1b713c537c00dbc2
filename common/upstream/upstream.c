/* An upstream as a whole: its places, and its statistics. Thread: the fetch loop, unless a function says otherwise. */
#include <stdio.h>
#include <string.h>

#include "common/upstream/upstream_private.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"

const struct upstream_limits upstream_limits_default = {
    .connect_ms = 4000,
    .head_ms = 10000,
    .stall_ms = 5000,
    .pace_ms = 5000,
    .budget_ms = 15000,
    .queue_of_one = 256,
    .queue = 4096,
    .queue_ms = 20000,
    .back_off_ms = 200,
    .rounds = 3,
    .retry_after_s = 5,
    .down_after_ms = 1000,
    .probe_ms = 250,
    .probe_max_ms = 10000,
    .measure_ms = 30000,
};

/* --- places --- */

enum { KIND_SMALL, KIND_BLOB };

static void on_place(struct share_entry *e, void *arg) {
    (void)arg;
    up_fetch_admitted(container_of(e, struct up_fetch, place));
}

static int64_t speed_of(const struct share_entry *e, void *arg) {
    (void)arg;
    return up_fetch_speed(container_of(e, struct up_fetch, place));
}

static void on_give_way(struct share_entry *e, void *arg) {
    (void)arg;
    up_fetch_give_way(container_of(e, struct up_fetch, place));
}

static struct share *make_places(struct upstream *u) {
    unsigned places = u->cfg->max_parallel ? u->cfg->max_parallel : 16;
    struct share_config sc = {.places = places,
                              .kinds = {[KIND_SMALL] = {.most = places - places / 4, .weight = 3},
                                        [KIND_BLOB] = {.most = places - places / 4, .weight = 1}},
                              .queue_of_one = u->limits->queue_of_one,
                              .queue = u->limits->queue,
                              .placed = on_place,
                              .loop = u->loop,
                              .speed = speed_of,
                              .give_way = on_give_way,
                              .arg = u};
    return share_new(&sc);
}

int upstream_enqueue(struct upstream *u, struct up_fetch *f, const struct fetch_request *rq) {
    /* A fetch that continues something is always let wait, because its readers have had a part of it. */
    return share_enter(u->places, &f->place, &rq->caller, f->blob ? KIND_BLOB : KIND_SMALL,
                       rq->offset > 0 || rq->begun);
}

void upstream_leave(struct upstream *u, struct up_fetch *f) {
    share_leave(u->places, &f->place);
}

void upstream_places(const struct upstream *u, struct share_stats *out) {
    share_stats(u->places, out);
}

/* --- the source --- */

static const struct source_ops ops = {up_fetch_start, up_fetch_cancel, up_fetch_pause, up_fetch_resume,
                                      up_fetch_wanted_by};

struct upstream *upstream_new(const struct upstream_config *cfg, const struct upstream_limits *limits, struct loop *l,
                              struct http_client *client) {
    struct upstream *u = xcalloc(1, sizeof(*u));
    u->source.ops = &ops;
    snprintf(u->source.name, sizeof(u->source.name), "%s", cfg->name);
    u->cfg = cfg;
    u->limits = limits ? limits : &upstream_limits_default;
    u->loop = l;
    u->client = client;
    u->tokens = token_cache_new(client);
    u->places = make_places(u);
    pthread_mutex_init(&u->lock, NULL);
    u->named = named_new();
    for (size_t i = 0; i < cfg->n_endpoints && i < UPSTREAM_ENDPOINTS_MAX; i++)
        endpoint_init(&u->endpoints[u->n_endpoints++], u, cfg->endpoints[i], (unsigned)i);
    timer_init(&u->measure, l, endpoints_measure, u);
    if (u->n_endpoints > 1) timer_set(&u->measure, u->limits->measure_ms);
    return u;
}

void upstream_free(struct upstream *u) {
    if (!u) return;
    share_close(u->places);
    while (u->fetches)
        up_fetch_cancel(&u->fetches->fetch);
    share_free(u->places);
    for (unsigned i = 0; i < u->n_endpoints; i++)
        endpoint_fini(&u->endpoints[i]);
    token_cache_free(u->tokens);
    timer_fini(&u->measure);
    pthread_mutex_destroy(&u->lock);
    named_free(u->named);
    free(u);
}

void upstream_set_held(struct upstream *u, const struct upstream_held *held) {
    u->held = *held;
}

struct source *upstream_source(struct upstream *u) {
    return &u->source;
}

const struct upstream_config *upstream_config(const struct upstream *u) {
    return u->cfg;
}

/* --- any thread --- */

#define LOAD(x) atomic_load_explicit(&(x), memory_order_relaxed)

void upstream_stats(const struct upstream *u, struct upstream_stats *out) {
    struct share_stats places;
    share_stats(u->places, &places);
    *out = (struct upstream_stats){.requests = LOAD(u->requests),
                                   .failures = LOAD(u->failures),
                                   .sent = LOAD(u->sent),
                                   .retries = LOAD(u->retries),
                                   .redirects = LOAD(u->redirects),
                                   .bytes = LOAD(u->bytes),
                                   .tokens = LOAD(u->tokens_fetched),
                                   .rate_limited = LOAD(u->rate_limited),
                                   .pulls_kept = LOAD(u->pulls_kept),
                                   .active = places.taken,
                                   .waiting = places.waiting,
                                   .limit = -1,
                                   .remaining = -1,
                                   .window_s = -1};
    int64_t until = INT64_MAX; /* the first endpoint that may be asked counts */
    for (unsigned i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *e = &u->endpoints[i];
        int64_t wait_until = LOAD(e->shown_until_ms);
        if (e->usable && wait_until < until) until = wait_until;
        int64_t remaining = LOAD(e->shown_remaining);
        out->reachable = out->reachable || (e->usable && !LOAD(e->shown_down));
        out->answers = out->answers || (e->usable && !LOAD(e->shown_failing));
        if (remaining < 0 || (out->remaining >= 0 && remaining >= out->remaining)) continue;
        out->remaining = remaining;
        out->limit = LOAD(e->shown_limit);
        out->window_s = LOAD(e->shown_window_s);
    }
    int64_t left_ms = until == INT64_MAX ? 0 : until - clock_mono_ms();
    out->wait_s = left_ms > 0 ? (left_ms + 999) / 1000 : 0;
}

unsigned upstream_endpoints(struct upstream *u, struct upstream_endpoint_state *out) {
    for (unsigned i = 0; i < u->n_endpoints; i++) {
        struct endpoint *e = &u->endpoints[i];
        out[i] = (struct upstream_endpoint_state){.url = e->url,
                                                  .up = e->usable && !LOAD(e->shown_down),
                                                  .answers = e->usable && !LOAD(e->shown_failing),
                                                  .latency_us = LOAD(e->shown_latency_us),
                                                  .failures = LOAD(e->shown_failures)};
        pthread_mutex_lock(&u->lock);
        memcpy(out[i].last_error, e->last_error, sizeof(out[i].last_error));
        pthread_mutex_unlock(&u->lock);
    }
    return u->n_endpoints;
}
