/* Policies that let the object with the least rank go. GDSF (Cherkasova 1998) ranks by the age at the last use plus
 * uses per byte; LFU-DA (Arlitt et al. 2000) by age plus uses: the same with a cost in proportion to the size. Belady's
 * rule lets go what is used farthest in the future. With sizes that differ it is not the optimum (finding that is
 * NP-hard) but the usual practical stand-in; bound_bytes says what is certain. Thread: one. */
#include "tests/bench/eviction/heap.h"
#include "tests/bench/eviction/policy.h"

#include <stdlib.h>

enum rule { GDSF, LFUDA, BELADY };

struct ranked {
    const struct trace *t;
    enum rule rule;
    int64_t room, used;
    struct heap *heap;
    uint32_t *uses; /* since it came */
    double age;     /* rank of the last that went */
    size_t *next;   /* BELADY: number of the request for the same object that follows each */
};

/* An object that is not asked for again has a next request behind the last. */
static size_t *find_next(const struct trace *t) {
    size_t *next = calloc(t->n + 1, sizeof(*next)), *seen = calloc(t->n_objects + 1, sizeof(*seen));
    if (!next || !seen) abort();
    for (size_t i = t->n; i-- > 0;) {
        uint32_t object = t->requests[i].object;
        next[i] = seen[object] ? seen[object] : t->n;
        seen[object] = i;
    }
    free(seen);
    return next;
}

static void *ranked_start(const struct trace *t, int64_t room, const void *settings) {
    struct ranked *c = calloc(1, sizeof(*c));
    if (!c) abort();
    *c = (struct ranked){.t = t, .room = room, .rule = *(const enum rule *)settings};
    c->heap = heap_new(t->n_objects);
    c->uses = calloc(t->n_objects + 1, sizeof(*c->uses));
    if (!c->uses) abort();
    if (c->rule == BELADY) c->next = find_next(t);
    return c;
}

static void ranked_end(void *cache) {
    struct ranked *c = cache;
    heap_free(c->heap);
    free(c->uses);
    free(c->next);
    free(c);
}

static double rank_of(const struct ranked *c, size_t i) {
    uint32_t object = c->t->requests[i].object;
    switch (c->rule) {
    case GDSF:
        return c->age + c->uses[object] * 1e6 / (double)(c->t->objects[object].size + 1);
    case LFUDA:
        return c->age + c->uses[object];
    case BELADY:
    default:
        return -(double)c->next[i];
    }
}

static void let_go(struct ranked *c, uint32_t object) {
    heap_remove(c->heap, object);
    c->used -= c->t->objects[object].size;
    c->uses[object] = 0;
}

/* The newcomer is among those that may have to go: Belady's rule does not let in what is wanted last of all. The others
 * let in whatever comes. */
static bool ranked_ask(void *cache, size_t i) {
    struct ranked *c = cache;
    uint32_t object = c->t->requests[i].object;
    bool hit = heap_has(c->heap, object), may_refuse = c->rule == BELADY;
    if (!hit) c->used += c->t->objects[object].size;
    c->uses[object]++;
    if (hit || may_refuse) heap_put(c->heap, object, rank_of(c, i));
    while (c->used > c->room) {
        uint32_t least = heap_least(c->heap, &c->age);
        let_go(c, least);
    }
    if (!hit && !may_refuse) heap_put(c->heap, object, rank_of(c, i));
    return hit;
}

static bool ranked_has(const void *cache, uint32_t object) {
    return heap_has(((const struct ranked *)cache)->heap, object);
}

static int64_t ranked_held(const void *cache) {
    return ((const struct ranked *)cache)->used;
}

#define RANKED(key_, about_, rule_)                                                                                    \
    {                                                                                                                  \
        .key = key_, .about = about_, .settings = &(const enum rule){rule_}, .start = ranked_start, .ask = ranked_ask, \
        .has = ranked_has, .held = ranked_held, .end = ranked_end                                                      \
    }

const struct policy policy_gdsf = RANKED("gdsf", "greedy dual, size and frequency", GDSF);
const struct policy policy_lfuda = RANKED("lfuda", "least frequently used, with ageing", LFUDA);
const struct policy policy_belady = RANKED("belady", "farthest next use (knows the future)", BELADY);
