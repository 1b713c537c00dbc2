/* A binary heap that knows where each object is; of equal ranks the smaller number goes first, so that a run can be
 * repeated. Thread: one. */
#include "tests/bench/eviction/heap.h"

#include <stdlib.h>

struct heap {
    double *rank;    /* of each object */
    uint32_t *place; /* of each object, from 1; 0: not in it */
    uint32_t *at;    /* object at each place */
    uint32_t n;
};

struct heap *heap_new(uint32_t n_objects) {
    struct heap *h = calloc(1, sizeof(*h));
    if (!h) abort();
    h->rank = calloc(n_objects + 1, sizeof(*h->rank));
    h->place = calloc(n_objects + 1, sizeof(*h->place));
    h->at = calloc(n_objects + 2, sizeof(*h->at));
    if (!h->rank || !h->place || !h->at) abort();
    return h;
}

void heap_free(struct heap *h) {
    free(h->rank);
    free(h->place);
    free(h->at);
    free(h);
}

bool heap_has(const struct heap *h, uint32_t object) {
    return h->place[object] != 0;
}

static bool before(const struct heap *h, uint32_t a, uint32_t b) {
    return h->rank[a] != h->rank[b] ? h->rank[a] < h->rank[b] : a < b;
}

static void set(struct heap *h, uint32_t place, uint32_t object) {
    h->at[place] = object;
    h->place[object] = place;
}

static void settle(struct heap *h, uint32_t place, uint32_t object) {
    for (; place > 1 && before(h, object, h->at[place / 2]); place /= 2)
        set(h, place, h->at[place / 2]);
    for (uint32_t child; (child = place * 2) <= h->n; place = child) {
        if (child < h->n && before(h, h->at[child + 1], h->at[child])) child++;
        if (!before(h, h->at[child], object)) break;
        set(h, place, h->at[child]);
    }
    set(h, place, object);
}

void heap_put(struct heap *h, uint32_t object, double rank) {
    h->rank[object] = rank;
    settle(h, h->place[object] ? h->place[object] : ++h->n, object);
}

uint32_t heap_least(const struct heap *h, double *rank) {
    if (!h->n) return 0;
    *rank = h->rank[h->at[1]];
    return h->at[1];
}

void heap_remove(struct heap *h, uint32_t object) {
    uint32_t place = h->place[object], last = h->at[h->n--];
    h->place[object] = 0;
    if (last != object) settle(h, place, last);
}
