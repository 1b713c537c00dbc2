/* Least recently used. Thread: one. */
#include "tests/bench/eviction/policy.h"

#include <stdlib.h>

struct link {
    uint32_t older, younger;
    bool held;
};

struct lru {
    const struct trace *t;
    int64_t room, used;
    struct link links[]; /* of each object; 0 is the ring's ends */
};

static void *lru_start(const struct trace *t, int64_t room, const void *settings) {
    (void)settings;
    struct lru *c = calloc(1, sizeof(*c) + (t->n_objects + 1) * sizeof(*c->links));
    if (!c) abort();
    c->t = t;
    c->room = room;
    return c;
}

static void take_out(struct lru *c, uint32_t object) {
    struct link *l = &c->links[object];
    c->links[l->older].younger = l->younger;
    c->links[l->younger].older = l->older;
    l->held = false;
    c->used -= c->t->objects[object].size;
}

static void put_youngest(struct lru *c, uint32_t object) {
    struct link *ends = &c->links[0];
    c->links[object] = (struct link){.older = ends->older, .held = true};
    c->links[ends->older].younger = object;
    ends->older = object;
    c->used += c->t->objects[object].size;
}

static bool lru_ask(void *cache, size_t i) {
    struct lru *c = cache;
    uint32_t object = c->t->requests[i].object;
    bool hit = c->links[object].held;
    if (hit) take_out(c, object);
    while (c->used + c->t->objects[object].size > c->room)
        take_out(c, c->links[0].younger);
    put_youngest(c, object);
    return hit;
}

static bool lru_has(const void *cache, uint32_t object) {
    return ((const struct lru *)cache)->links[object].held;
}

static int64_t lru_held(const void *cache) {
    return ((const struct lru *)cache)->used;
}

const struct policy policy_lru = {
    .key = "lru",
    .about = "least recently used",
    .start = lru_start,
    .ask = lru_ask,
    .has = lru_has,
    .held = lru_held,
    .end = free,
};
