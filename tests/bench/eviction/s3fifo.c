/* S3-FIFO as its paper has it (Yang et al., SOSP 2023), by bytes: a tenth for the small queue, out of which goes to the
 * main queue what was used more than once, ghosts for as many bytes as the main queue may hold, uses counted to 3.
 * Thread: one. */
#include "tests/bench/eviction/policy.h"

#include <stdlib.h>

#define SMALL_SHARE 10
#define USES_MAX 3
#define USES_TO_STAY 2

enum queue { NOWHERE, SMALL, MAIN, GHOST, QUEUES };

struct entry {
    uint32_t older, younger;
    uint8_t queue, uses;
};

struct list {
    uint32_t oldest, youngest;
    int64_t bytes;
};

struct s3fifo {
    const struct trace *t;
    int64_t room;
    struct list lists[QUEUES];
    struct entry entries[]; /* of each object */
};

static void *s3fifo_start(const struct trace *t, int64_t room, const void *settings) {
    (void)settings;
    struct s3fifo *c = calloc(1, sizeof(*c) + (t->n_objects + 1) * sizeof(*c->entries));
    if (!c) abort();
    c->t = t;
    c->room = room;
    return c;
}

static void take_out(struct s3fifo *c, uint32_t object) {
    struct entry *e = &c->entries[object];
    struct list *l = &c->lists[e->queue];
    *(e->older ? &c->entries[e->older].younger : &l->oldest) = e->younger;
    *(e->younger ? &c->entries[e->younger].older : &l->youngest) = e->older;
    l->bytes -= c->t->objects[object].size;
    e->queue = NOWHERE;
}

static void put(struct s3fifo *c, enum queue q, uint32_t object, unsigned uses) {
    struct list *l = &c->lists[q];
    c->entries[object] = (struct entry){.older = l->youngest, .queue = (uint8_t)q, .uses = (uint8_t)uses};
    *(l->youngest ? &c->entries[l->youngest].younger : &l->oldest) = object;
    l->youngest = object;
    l->bytes += c->t->objects[object].size;
}

static void put_ghost(struct s3fifo *c, uint32_t object) {
    put(c, GHOST, object, 0);
    while (c->lists[GHOST].bytes > c->room - c->room / SMALL_SHARE)
        take_out(c, c->lists[GHOST].oldest);
}

static void evict_small(struct s3fifo *c) {
    uint32_t object = c->lists[SMALL].oldest;
    unsigned uses = c->entries[object].uses;
    take_out(c, object);
    if (uses >= USES_TO_STAY)
        put(c, MAIN, object, 0);
    else
        put_ghost(c, object);
}

static void evict_main(struct s3fifo *c) {
    uint32_t object = c->lists[MAIN].oldest;
    unsigned uses = c->entries[object].uses;
    take_out(c, object);
    if (uses) put(c, MAIN, object, uses - 1);
}

static int64_t s3fifo_held(const void *cache) {
    const struct s3fifo *c = cache;
    return c->lists[SMALL].bytes + c->lists[MAIN].bytes;
}

static bool s3fifo_has(const void *cache, uint32_t object) {
    enum queue q = ((const struct s3fifo *)cache)->entries[object].queue;
    return q == SMALL || q == MAIN;
}

static bool s3fifo_ask(void *cache, size_t i) {
    struct s3fifo *c = cache;
    uint32_t object = c->t->requests[i].object;
    struct entry *e = &c->entries[object];
    if (s3fifo_has(c, object)) {
        if (e->uses < USES_MAX) e->uses++;
        return true;
    }
    while (s3fifo_held(c) + c->t->objects[object].size > c->room) {
        if (c->lists[SMALL].oldest && (c->lists[SMALL].bytes >= c->room / SMALL_SHARE || !c->lists[MAIN].oldest))
            evict_small(c);
        else
            evict_main(c);
    }
    bool ghost = e->queue == GHOST;
    if (ghost) take_out(c, object);
    put(c, ghost ? MAIN : SMALL, object, 0);
    return false;
}

const struct policy policy_s3fifo = {
    .key = "s3fifo",
    .about = "S3-FIFO as published",
    .start = s3fifo_start,
    .ask = s3fifo_ask,
    .has = s3fifo_has,
    .held = s3fifo_held,
    .end = free,
};
