/* A request is relayed from whom it was passed on to:
 *
 *   central ── gone, before it has agreed to send ──▶ upstream ──▶ over
 *      └── anything else ──▶ over
 *
 * Thread: the fetch loop, but for what the header marks. */
#include "edge/pull/fallback.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"

/* An upstream as this edge asks it. The newest of a name counts. Older ones, whose endpoints have changed, stay to the
 * end, because requests may still use them and changes are rare. */
struct direct {
    struct source source; /* its name, for those whose requests it answers; the operations are those of fallback */
    struct upstream_config cfg;
    struct upstream *upstream;
    struct direct *older;
};

struct fallback {
    struct source source;
    struct fallback_config cfg;
    struct upstream_limits limits;
    _Atomic(struct direct *) directs; /* only ever gets longer */
    struct relay *relays;
    bool used; /* since central was there last */
    _Atomic int64_t requests, failures;
    _Atomic int64_t over_s; /* wall clock: when central was back after upstreams were asked; 0: never */
};

struct relay {
    struct fetch fetch; /* first */
    struct fallback *fallback;
    struct fetch_request rq; /* rq.query is ours */
    const struct fetch_events *events;
    void *arg;
    struct fetch *inner;
    struct direct *direct; /* NULL: central is asked */
    struct fetch_end gone; /* how central ended, once an upstream is asked */
    bool agreed, paused;
    struct relay *next, **link;
};

/* --- upstreams --- */

static bool same_endpoints(const struct upstream_config *c, char *const *urls, size_t n) {
    if (c->n_endpoints != n) return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(c->endpoints[i], urls[i]) != 0) return false;
    return true;
}

static struct direct *find_direct(const struct fallback *f, const char *name) {
    struct direct *d = atomic_load_explicit(&((struct fallback *)(uintptr_t)f)->directs, memory_order_acquire);
    while (d && strcmp(d->source.name, name) != 0)
        d = d->older;
    return d;
}

/* The upstream of that name as central told it last; NULL: it told no endpoint. */
static struct direct *direct_of(struct fallback *f, const char *name) {
    char **urls;
    size_t n = settings_endpoints(f->cfg.settings, name, &urls);
    if (n > UPSTREAM_ENDPOINTS_MAX) n = UPSTREAM_ENDPOINTS_MAX;
    struct direct *d = find_direct(f, name);
    if (n == 0 || (d && same_endpoints(&d->cfg, urls, n))) return n ? d : NULL;
    d = xcalloc(1, sizeof(*d));
    d->source = f->source;
    d->source.stands_in = true;
    snprintf(d->source.name, sizeof(d->source.name), "%s", name);
    d->cfg = (struct upstream_config){.name = d->source.name, .endpoints = urls, .n_endpoints = n};
    d->upstream = upstream_new(&d->cfg, &f->limits, f->cfg.loop, f->cfg.client);
    upstream_set_held(d->upstream, &f->cfg.held);
    d->older = atomic_load_explicit(&f->directs, memory_order_relaxed);
    atomic_store_explicit(&f->directs, d, memory_order_release);
    return d;
}

/* --- requests --- */

static void relay_free(struct relay *r) {
    *r->link = r->next;
    if (r->next) r->next->link = r->link;
    free((void *)(uintptr_t)r->rq.query);
    free(r);
}

/* These touch nothing of r after the call, because whoever listens may cancel in it. */
static void on_head(struct fetch *inner, const struct fetch_head *h, void *arg) {
    (void)inner;
    struct relay *r = arg;
    r->agreed = true;
    r->events->head(&r->fetch, h, r->arg);
}

static void on_data(struct fetch *inner, const void *data, size_t len, void *arg) {
    (void)inner;
    struct relay *r = arg;
    r->events->data(&r->fetch, data, len, r->arg);
}

static void on_lull(struct fetch *inner, void *arg) {
    (void)inner;
    struct relay *r = arg;
    if (r->events->lull) r->events->lull(&r->fetch, r->arg);
}

static const char *tag_asked(const struct fetch_request *rq) {
    bool by_tag = (rq->kind == FETCH_MANIFEST_HEAD || rq->kind == FETCH_MANIFEST) && !rq->ref.is_digest;
    return by_tag ? rq->ref.tag : NULL;
}

/* Under other settings than those of now its name may mean something that is hosted. */
static bool may_go_upstream(const struct fallback *f, const struct fetch_request *rq) {
    const char *tag = tag_asked(rq);
    return rq->repo.upstream[0] && rq->settings == settings_version(f->cfg.settings) &&
           !(tag && f->cfg.hosted(&rq->repo, tag, f->cfg.arg));
}

static bool central_is_gone(const struct relay *r, const struct fetch_end *e) {
    bool unanswered = e->status == 0 && (e->code == ERR_UNREACHABLE || e->code == ERR_TIMEOUT);
    return unanswered && !r->direct && !r->agreed && r->fallback->cfg.gone(r->fallback->cfg.arg);
}

static void start_at(struct relay *r, struct source *s);

/* False: there is no upstream that may be asked. */
static bool go_upstream(struct relay *r, const struct fetch_end *gone) {
    struct fallback *f = r->fallback;
    struct direct *d = may_go_upstream(f, &r->rq) ? direct_of(f, r->rq.repo.upstream) : NULL;
    if (!d) return false;
    if (!f->used) log_warn("fallback_used", KV_S("upstream", d->source.name), KV_S("why", gone->msg));
    f->used = true;
    atomic_fetch_add_explicit(&f->requests, 1, memory_order_relaxed);
    r->direct = d;
    r->gone = *gone;
    r->fetch.source = &d->source;
    start_at(r, upstream_source(d->upstream));
    return true;
}

/* An upstream has failed: sets how the request ends. */
static void judge_upstream(struct relay *r, struct fetch_end *e) {
    struct fallback *f = r->fallback;
    const char *tag = tag_asked(&r->rq);
    if (e->code != ERR_NOT_FOUND) atomic_fetch_add_explicit(&f->failures, 1, memory_order_relaxed);
    if (tag && f->cfg.knows(&r->rq.repo, tag, f->cfg.arg)) {
        *e = r->gone;
        return;
    }
    char why[sizeof(e->msg)];
    memcpy(why, e->msg, sizeof(why));
    snprintf(e->msg, sizeof(e->msg), "%.190s (asked directly: central cannot be reached)", why);
}

static void on_done(struct fetch *inner, const struct fetch_end *end, void *arg) {
    (void)inner;
    struct relay *r = arg;
    struct fetch_end e = *end;
    r->inner = NULL;
    if (central_is_gone(r, &e) && go_upstream(r, &e)) return;
    if (r->direct && e.code != 0 && !e.gave_way) judge_upstream(r, &e);
    r->events->done(&r->fetch, &e, r->arg);
    relay_free(r);
}

static void start_at(struct relay *r, struct source *s) {
    static const struct fetch_events events = {on_head, on_data, on_done, on_lull};
    r->inner = fetch_start(s, &r->rq, &events, r);
    if (r->paused) fetch_pause(r->inner);
}

static struct relay *relay_of(struct fetch *fetch) {
    return container_of(fetch, struct relay, fetch);
}

static struct fetch *start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev, void *arg) {
    struct fallback *f = container_of(s, struct fallback, source);
    struct relay *r = xcalloc(1, sizeof(*r));
    *r = (struct relay){.fetch = {.source = s}, .fallback = f, .rq = *rq, .events = ev, .arg = arg, .next = f->relays};
    r->rq.query = xstrdup_or_null(rq->query);
    r->link = &f->relays;
    if (r->next) r->next->link = &r->next;
    f->relays = r;
    start_at(r, f->cfg.central);
    return &r->fetch;
}

static void cancel(struct fetch *fetch) {
    struct relay *r = relay_of(fetch);
    if (r->inner) fetch_cancel(r->inner);
    relay_free(r);
}

static void pause_fetch(struct fetch *fetch) {
    struct relay *r = relay_of(fetch);
    r->paused = true;
    if (r->inner) fetch_pause(r->inner);
}

static void resume_fetch(struct fetch *fetch) {
    struct relay *r = relay_of(fetch);
    r->paused = false;
    if (r->inner) fetch_resume(r->inner);
}

static void wanted_by(struct fetch *fetch, const struct caller *caller) {
    struct relay *r = relay_of(fetch);
    if (r->inner) fetch_wanted_by(r->inner, caller);
}

static const struct source_ops ops = {start, cancel, pause_fetch, resume_fetch, wanted_by};

/* --- the whole --- */

struct fallback *fallback_new(const struct fallback_config *cfg) {
    struct fallback *f = xcalloc(1, sizeof(*f));
    f->cfg = *cfg;
    f->source.ops = &ops;
    memcpy(f->source.name, cfg->central->name, sizeof(f->source.name));
    f->limits = upstream_limits_default;
    f->limits.queue_of_one = cfg->queue_of_one;
    f->limits.queue = cfg->queue;
    return f;
}

void fallback_free(struct fallback *f) {
    if (!f) return;
    while (f->relays)
        cancel(&f->relays->fetch);
    for (struct direct *d = atomic_load(&f->directs), *older; d; d = older) {
        older = d->older;
        upstream_free(d->upstream);
        free(d);
    }
    free(f);
}

struct source *fallback_source(struct fallback *f) {
    return &f->source;
}

void fallback_over(struct fallback *f) {
    if (!f->used) return;
    f->used = false;
    atomic_store_explicit(&f->over_s, clock_wall_s(), memory_order_relaxed);
    log_info("fallback_over", KV_I("requests", atomic_load_explicit(&f->requests, memory_order_relaxed)));
}

/* --- any thread --- */

#define LOAD(x) atomic_load_explicit(&(x), memory_order_relaxed)

/* A tag that was checked before central was back is older than this. */
int64_t fallback_fresh_ms(const struct fallback *f, int64_t fresh_ms) {
    int64_t over = LOAD(((struct fallback *)(uintptr_t)f)->over_s), now = clock_wall_s();
    if (over == 0 || now < over || (now - over) * 1000 >= fresh_ms) return fresh_ms;
    return (now - over) * 1000;
}

void fallback_state(const struct fallback *shared, struct fallback_state *out) {
    struct fallback *f = (struct fallback *)(uintptr_t)shared;
    *out = (struct fallback_state){
        .active = f->cfg.gone(f->cfg.arg), .requests = LOAD(f->requests), .failures = LOAD(f->failures)};
}

void fallback_each(const struct fallback *f, void (*fn)(struct upstream *u, void *arg), void *arg) {
    struct direct *d = atomic_load_explicit(&((struct fallback *)(uintptr_t)f)->directs, memory_order_acquire);
    for (; d; d = d->older)
        if (find_direct(f, d->source.name) == d) fn(d->upstream, arg);
}
