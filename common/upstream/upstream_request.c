/* One logical request to an upstream. Thread: the fetch loop.
 *
 *   QUEUED ── it has a place ──▶ CHOOSING ── an endpoint ──▶ SIGNING ── a token, or none is needed ──▶ ASKING
 *   ASKING ── 200, 206 ──▶ TELLING ── the body has ended, or broken off ──▶ over
 *
 *   ASKING ── 401 ──▶ SIGNING                         ASKING ── Retry-After ──▶ WAITING ── time is up ──▶ SIGNING
 *   ASKING ── 3xx ──▶ ASKING, at the target
 *   SIGNING, ASKING, TELLING before the first byte ── failed, refused ──▶ CHOOSING, among the endpoints that are left
 *   CHOOSING ── all have failed ──▶ RESTING ── time is up ──▶ CHOOSING, the next round
 *   QUEUED ── no place in time ──▶ over               CHOOSING ── no round or no time is left ──▶ over
 *
 * Once a byte of the body was passed on, nothing is tried again here: the reader knows better where to continue. */
#include "common/upstream/upstream_request.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/source/registry_http.h"

bool up_is_head(const struct up_request *r) {
    return fetch_wants_head(&r->rq) && !r->head_by_get;
}

bool up_counts(const struct up_request *r) {
    return r->rq.kind == FETCH_MANIFEST || (r->rq.kind == FETCH_MANIFEST_HEAD && r->head_by_get);
}

const char *up_who(const struct up_request *r, char out[UP_WHO_MAX]) {
    snprintf(out, UP_WHO_MAX, r->proxy[0] ? "%.60s (by proxy %.150s)" : "%.200s", r->f.u->cfg->name, r->proxy);
    return out;
}

/* --- ending --- */

/* Ends everything that runs for this try. */
void up_stop_try(struct up_request *r) {
    timer_clear(&r->timer);
    up_pull_answered(r);
    up_body_over(r);
    if (r->call) http_call_cancel(r->call);
    if (r->wait) token_wait_cancel(r->wait);
    r->call = NULL;
    r->wait = NULL;
}

static void request_free(struct up_request *r) {
    struct upstream *u = r->f.u;
    up_stop_try(r);
    *r->f.link = r->f.next;
    if (r->f.next) r->f.next->link = r->f.link;
    timer_fini(&r->timer);
    up_forget_token(&r->own);
    up_forget_token(&r->there);
    registry_refusal_fini(&r->refusal_body);
    free(r->url);
    free(r->location);
    free(r->link);
    free((void *)(uintptr_t)r->rq.query);
    upstream_leave(u, &r->f);
    free(r);
}

/* The last word. r is gone after it. */
void up_finish(struct up_request *r, const struct fetch_end *end) {
    struct upstream *u = r->f.u;
    struct fetch_end last = *end; /* may be r's own */
    up_stop_try(r);
    if (last.code != 0 && last.code != ERR_NOT_FOUND) atomic_fetch_add_explicit(&u->failures, 1, memory_order_relaxed);
    if (last.code == ERR_RATE_LIMITED) atomic_fetch_add_explicit(&u->rate_limited, 1, memory_order_relaxed);
    listener_done(&r->listener, &last);
    request_free(r);
}

bool up_survives(struct up_request *r, bool goes_on) {
    if (goes_on) return true;
    r->call = NULL; /* ended by returning false */
    request_free(r);
    return false;
}

/* --- choosing --- */

/* Nobody was asked: every endpoint is down, or its pull limit is used up. */
static void explain_nobody(struct up_request *r) {
    struct upstream *u = r->f.u;
    int64_t now = clock_mono_ms(), least = -1;
    const struct endpoint *down = NULL;
    for (unsigned i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *e = &u->endpoints[i];
        int64_t wait = up_counts(r) ? ratelimit_wait_s(&e->limit, now) : 0;
        if (e->down || !e->usable)
            down = e;
        else if (wait > 0 && (least < 0 || wait < least))
            least = wait;
    }
    if (least > 0) {
        fetch_end_set(&r->failures.told, ERR_RATE_LIMITED, "the pull limit of %.100s is used up for %lld s",
                      u->cfg->name, (long long)least);
        r->failures.told.retry_after_s = least;
    } else {
        fetch_end_set(&r->failures.told, ERR_UNREACHABLE, "%.80s cannot be reached: %.160s", u->cfg->name,
                      down && down->last_error[0] ? down->last_error : "no usable endpoint is configured");
    }
}

static void rest(struct up_request *r) {
    const struct upstream_limits *limits = r->f.u->limits;
    int64_t ms = limits->back_off_ms << (r->round - 1);
    if (ms > 1) ms -= (int64_t)arc4random_uniform((uint32_t)(ms / 2));
    r->step = UP_RESTING;
    timer_set(&r->timer, ms);
    atomic_fetch_add_explicit(&r->f.u->retries, 1, memory_order_relaxed);
}

void up_forget_target(struct up_request *r) {
    free(r->url);
    r->url = NULL;
    r->away = false;
    r->redirects = 0;
    r->there_sign_ins = 0;
    up_forget_token(&r->there);
}

/* --- the pull limit --- */

void up_pull_answered(struct up_request *r) {
    if (r->pulls_at) pull_share_answered(&r->pulls_at->pulls);
    r->pulls_at = NULL;
}

#define KEPT_RETRY_AFTER_S 60

/* Refuses: little is left of the pull limit, and this caller has had its part. */
static void keep_for_others(struct up_request *r) {
    const struct ratelimit *limit = &r->e->limit;
    struct fetch_end end;
    char who[CALLER_TEXT_MAX];
    fetch_end_set(&end, ERR_RATE_LIMITED,
                  "of the pull limit of %.80s, %lld of %lld are left and kept for others: %s has had %llu lately",
                  r->f.u->cfg->name, (long long)limit->remaining, (long long)limit->limit,
                  caller_text(&r->rq.caller, who), (unsigned long long)pull_share_had(&r->e->pulls, &r->rq.caller));
    end.retry_after_s = KEPT_RETRY_AFTER_S;
    end.not_sent = true;
    atomic_fetch_add_explicit(&r->f.u->pulls_kept, 1, memory_order_relaxed);
    up_refused(r, &end);
}

static void try_endpoint(struct up_request *r) {
    int64_t now = clock_mono_ms();
    r->head_by_get = fetch_wants_head(&r->rq) && now < r->e->no_head_until_ms[r->rq.kind == FETCH_BLOB_HEAD];
    if (up_counts(r)) {
        if (!pull_share_may(&r->e->pulls, &r->e->limit, &r->rq.caller)) {
            keep_for_others(r);
            return;
        }
        ratelimit_asks(&r->e->limit, now);
        pull_share_took(&r->e->pulls, &r->e->limit, &r->rq.caller, now);
        r->pulls_at = r->e;
    }
    up_sign(r);
}

static void choose(struct up_request *r) {
    struct upstream *u = r->f.u;
    up_forget_target(r);
    r->head_by_get = r->renewed = r->whole = false;
    if (r->by_tag) r->rq.ref = r->by_digest;
    r->by_tag = false;
    bool late = clock_mono_ms() - r->began_ms >= u->limits->budget_ms;
    r->e = late ? NULL : endpoint_choose(u, r->tried | r->refused, up_counts(r));
    if (r->e) {
        try_endpoint(r);
        return;
    }
    if (!late && r->worth_retrying && r->round + 1 < u->limits->rounds &&
        endpoint_choose(u, r->refused, up_counts(r))) {
        r->round++;
        r->tried = 0;
        rest(r);
        return;
    }
    if (!r->failures.told.code) explain_nobody(r);
    up_finish(r, &r->failures.told);
}

void up_failed(struct up_request *r, const struct fetch_end *end) {
    up_stop_try(r);
    failure_note(&r->failures, r->e, end);
    log_debug("upstream_try_failed", KV_S("upstream", r->f.u->cfg->name), KV_S("endpoint", r->e->url),
              KV_S("request", r->rq.request_id), KV_S("why", end->msg));
    r->tried |= r->e->bit;
    r->worth_retrying = true;
    choose(r);
}

void up_refused(struct up_request *r, const struct fetch_end *end) {
    up_stop_try(r);
    failure_note(&r->failures, r->e, end);
    r->tried |= r->e->bit;
    r->refused |= r->e->bit;
    choose(r);
}

/* --- the source's operations --- */

/* Refuses: there is no place, or no space to wait for one. */
static void too_much(struct up_request *r) {
    struct fetch_end end;
    char who[CALLER_TEXT_MAX];
    fetch_end_set(&end, ERR_BUSY, "%s has too many requests to %.100s waiting already", caller_text(&r->rq.caller, who),
                  r->f.u->cfg->name);
    end.retry_after_s = 1;
    end.not_sent = true;
    up_finish(r, &end);
}

static void on_timer(void *arg) {
    struct up_request *r = arg;
    switch (r->step) {
    case UP_QUEUED:
        too_much(r);
        break;
    case UP_CHOOSING:
    case UP_RESTING:
        choose(r);
        break;
    case UP_WAITING:
        up_sign(r);
        break;
    case UP_ASKING: /* a refusal whose body does not end */
        up_refusal_over(r);
        break;
    case UP_TELLING:
        up_body_sample(r);
        break;
    case UP_SIGNING:
        break;
    }
}

void up_fetch_admitted(struct up_fetch *f) {
    struct up_request *r = container_of(f, struct up_request, f);
    r->step = UP_CHOOSING;
    r->began_ms = clock_mono_ms();
    timer_set(&r->timer, 0); /* no callback from within start, nor from within the end of another */
}

int64_t up_fetch_speed(const struct up_fetch *f) {
    return up_body_speed(container_of(f, struct up_request, f));
}

void up_fetch_give_way(struct up_fetch *f) {
    struct up_request *r = container_of(f, struct up_request, f);
    struct fetch_end end;
    up_stop_try(r);
    fetch_end_set(&end, ERR_BUSY, "the place at %.100s was needed for another request", r->f.u->cfg->name);
    end.status = r->status;
    end.gave_way = true;
    listener_done(&r->listener, &end);
    request_free(r);
}

struct fetch *up_fetch_start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev,
                             void *arg) {
    struct upstream *u = container_of(s, struct upstream, source);
    struct up_request *r = xcalloc(1, sizeof(*r));
    r->f = (struct up_fetch){.fetch = {.source = s}, .u = u, .blob = rq->kind == FETCH_BLOB};
    r->listener = (struct fetch_listener){.fetch = &r->f.fetch, .events = ev, .arg = arg};
    r->rq = *rq;
    if (rq->query) r->rq.query = xstrdup(rq->query);
    for (unsigned i = 0; rq->avoid_origin && i < u->n_endpoints; i++) {
        if (strcmp(u->endpoints[i].url, rq->avoid_origin) == 0) endpoint_avoid(&u->endpoints[i], "it sent wrong bytes");
    }
    r->rq.avoid_origin = NULL;
    registry_refusal_init(&r->refusal_body);
    timer_init(&r->timer, u->loop, on_timer, r);
    r->f.next = u->fetches;
    r->f.link = &u->fetches;
    if (r->f.next) r->f.next->link = &r->f.next;
    u->fetches = &r->f;
    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    r->step = UP_QUEUED;
    if (!r->f.blob) timer_set(&r->timer, u->limits->queue_ms);
    if (upstream_enqueue(u, &r->f, rq) < 0) timer_set(&r->timer, 0);
    return &r->f.fetch;
}

static struct up_request *request_of(struct fetch *fetch) {
    return container_of(container_of(fetch, struct up_fetch, fetch), struct up_request, f);
}

void up_fetch_cancel(struct fetch *fetch) {
    struct up_request *r = request_of(fetch);
    if (listener_cancel(&r->listener)) request_free(r);
}

void up_fetch_pause(struct fetch *fetch) {
    struct up_request *r = request_of(fetch);
    r->paused = r->sample.held = true;
    if (r->call) http_call_pause(r->call);
}

void up_fetch_resume(struct fetch *fetch) {
    struct up_request *r = request_of(fetch);
    r->paused = false;
    if (r->call) http_call_resume(r->call);
}

void up_fetch_wanted_by(struct fetch *fetch, const struct caller *caller) {
    struct up_request *r = request_of(fetch);
    share_move(r->f.u->places, &r->f.place, caller);
}
