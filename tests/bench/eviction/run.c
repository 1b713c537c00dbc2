/* Replays a trace through a policy, and what no policy can pass. Thread: one. */
#include "tests/bench/eviction/policy.h"

#include <assert.h>
#include <stdlib.h>

struct result policy_run(const struct policy *p, const struct trace *t, int64_t room) {
    struct result r = {0};
    void *cache = p->start(t, room, p->settings);
    for (size_t i = 0; i < t->n; i++) {
        const struct trace_object *o = &t->objects[t->requests[i].object];
        bool hit = o->size <= room && p->ask(cache, i);
        bool manifest = o->kind == TRACE_MANIFEST;
        r.asked++;
        r.asked_bytes += o->size;
        r.hits += hit;
        r.hit_bytes += hit ? o->size : 0;
        r.manifests += manifest;
        r.manifest_hits += manifest && hit;
        assert(p->held(cache) <= room);
    }
    p->end(cache);
    return r;
}

static double percent(double part, double whole) {
    return whole > 0 ? 100 * part / whole : 0;
}

double result_bytes(const struct result *r) {
    return percent((double)r->hit_bytes, (double)r->asked_bytes);
}

double result_objects(const struct result *r) {
    return percent((double)r->hits, (double)r->asked);
}

double result_manifests(const struct result *r) {
    return percent((double)r->manifest_hits, (double)r->manifests);
}

/* --- a cache that never evicts --- */

struct infinite {
    const struct trace *t;
    bool held[];
};

static void *infinite_start(const struct trace *t, int64_t room, const void *settings) {
    (void)room, (void)settings;
    struct infinite *c = calloc(1, sizeof(*c) + t->n_objects + 1);
    if (!c) abort();
    c->t = t;
    return c;
}

static bool infinite_ask(void *cache, size_t i) {
    struct infinite *c = cache;
    bool *held = &c->held[c->t->requests[i].object], was = *held;
    *held = true;
    return was;
}

static bool infinite_has(const void *cache, uint32_t object) {
    return ((const struct infinite *)cache)->held[object];
}

static int64_t infinite_held(const void *cache) {
    (void)cache;
    return 0;
}

const struct policy policy_infinite = {
    .key = "infinite",
    .about = "a cache without a limit",
    .start = infinite_start,
    .ask = infinite_ask,
    .has = infinite_has,
    .held = infinite_held,
    .end = free,
};

/* --- the bound --- */

/* A hit is an object kept from one request to its next: so many bytes for so long. The hits that fill the whole area
 * of room and time with the shortest stays are at least as many bytes as any cache can hit. */
struct stay {
    size_t length;
    int64_t size;
};

static int by_length(const void *a, const void *b) {
    const struct stay *x = a, *y = b;
    return x->length < y->length ? -1 : x->length > y->length;
}

double bound_bytes(const struct trace *t, int64_t room) {
    struct stay *stays = calloc(t->n + 1, sizeof(*stays));
    size_t *last = calloc(t->n_objects + 1, sizeof(*last)), n = 0;
    if (!stays || !last) abort();
    for (size_t i = 0; i < t->n; i++) {
        uint32_t object = t->requests[i].object;
        int64_t size = t->objects[object].size;
        if (last[object] && size <= room) stays[n++] = (struct stay){i + 1 - last[object], size};
        last[object] = i + 1;
    }
    qsort(stays, n, sizeof(*stays), by_length);
    double area = (double)room * (double)t->n, bytes = 0;
    for (size_t i = 0; i < n && area > 0; i++) {
        double need = (double)stays[i].size * (double)stays[i].length;
        bytes += (double)stays[i].size * (need <= area ? 1 : area / need);
        area -= need;
    }
    free(stays);
    free(last);
    return percent(bytes, (double)trace_bytes(t));
}
