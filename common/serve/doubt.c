/* A case for each doubted digest, the first of them at the work pool. Thread: fetch loop, but for what is marked. */
#include "common/serve/doubt.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/offload.h"

#include <assert.h>

#define CASES_MAX 16
#define REST_MIN_MS 1000

/* Whoever waits for a case. */
struct doubter {
    struct doubts *doubts;
    struct loop *loop;
    struct digest digest;
    void (*done)(void *arg);
    void *arg;
    struct loop_task task;
    struct doubter *next;
};

struct doubt_case {
    struct doubts *doubts;
    struct digest digest;
    struct doubter *doubters;
    struct offload offload;
    int code;
    int64_t began_ms;
    struct doubt_case *next;
};

struct doubts {
    struct doubts_config cfg;
    struct doubt_case *cases; /* the first is being read */
    unsigned n_cases;
    int64_t rest_until_ms;
};

static void begin(struct doubt_case *c);

/* The doubter's own loop. */
static void deliver(struct loop_task *task) {
    struct doubter *d = container_of(task, struct doubter, task);
    d->done(d->arg);
    free(d);
}

static void answer(struct doubter *d) {
    d->task.fn = deliver;
    loop_post(d->loop, &d->task);
}

/* A wrong blob has been dropped; a right one has been read for nothing, so further doubts are ignored for a while. */
static void rest(struct doubts *k, int64_t took_ms) {
    int64_t now = clock_mono_ms(), ms = took_ms * DOUBT_REST;
    if (k->rest_until_ms < now) k->rest_until_ms = now;
    k->rest_until_ms += ms > REST_MIN_MS ? ms : REST_MIN_MS;
}

static void rechecked(struct offload *o) {
    struct doubt_case *c = container_of(o, struct doubt_case, offload);
    struct doubts *k = c->doubts;
    if (c->code == 0) {
        char digest[DIGEST_STR_MAX];
        log_info("doubt_unfounded", KV_S("digest", digest_str(&c->digest, digest)));
        rest(k, clock_mono_ms() - c->began_ms);
    }
    k->cases = c->next;
    k->n_cases--;
    for (struct doubter *d = c->doubters, *next; d; d = next) {
        next = d->next;
        answer(d);
    }
    free(c);
    if (k->cases) begin(k->cases);
}

/* Work pool. */
static void recheck(struct offload *o) {
    struct doubt_case *c = container_of(o, struct doubt_case, offload);
    c->code = c->doubts->cfg.recheck(&c->digest, c->doubts->cfg.arg);
}

static void begin(struct doubt_case *c) {
    c->offload = (struct offload){.run = recheck, .back = rechecked};
    c->began_ms = clock_mono_ms();
    offload_start(&c->offload, c->doubts->cfg.pool, c->doubts->cfg.loop);
}

/* The link that leads to d's case, or the last one. */
static struct doubt_case **find(struct doubts *k, const struct digest *d) {
    struct doubt_case **link = &k->cases;
    while (*link && !digest_eq(&(*link)->digest, d))
        link = &(*link)->next;
    return link;
}

static void on_raise(struct loop_task *task) {
    struct doubter *d = container_of(task, struct doubter, task);
    struct doubts *k = d->doubts;
    struct doubt_case **link = find(k, &d->digest), *c = *link;
    if (!c && (k->n_cases == CASES_MAX || clock_mono_ms() < k->rest_until_ms)) {
        answer(d);
        return;
    }
    if (!c) {
        *link = c = xcalloc(1, sizeof(*c));
        c->doubts = k;
        c->digest = d->digest;
        if (k->n_cases++ == 0) begin(c);
    }
    d->next = c->doubters;
    c->doubters = d;
}

void doubts_raise(struct doubts *k, const struct digest *digest, void (*done)(void *arg), void *arg) {
    struct doubter *d = xcalloc(1, sizeof(*d));
    *d = (struct doubter){
        .doubts = k, .loop = loop_current(), .digest = *digest, .done = done, .arg = arg, .task.fn = on_raise};
    loop_post(k->cfg.loop, &d->task);
}

struct doubts *doubts_new(const struct doubts_config *cfg) {
    struct doubts *k = xcalloc(1, sizeof(*k));
    k->cfg = *cfg;
    return k;
}

void doubts_free(struct doubts *k) {
    if (!k) return;
    assert(!k->cases);
    free(k);
}
