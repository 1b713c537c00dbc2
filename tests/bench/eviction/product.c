/* The product's own eviction queues, linked as they are and driven as the store drives them (common/store/space.c and
 * held.c): uses counted to 3, what went becomes a ghost. Thread: one. */
#include "common/store/evict.h"
#include "tests/bench/eviction/policy.h"

#include <assert.h>
#include <stdlib.h>

#define FREQ_MAX 3

struct pair {
    uint32_t manifest, child;
};

struct product {
    const struct trace *t;
    bool as_store; /* between its marks, manifests kept for their children */
    int64_t room, used;
    struct evict *queues;
    uint8_t *freq;
    bool *held;
    struct pair *children; /* sorted by manifest */
    uint32_t *first;       /* of each manifest, its first pair */
};

static int64_t size_of(uint32_t id, void *arg) {
    return ((struct product *)arg)->t->objects[id].size;
}

static unsigned freq_of(uint32_t id, void *arg) {
    return ((struct product *)arg)->freq[id];
}

static void set_freq(uint32_t id, unsigned freq, void *arg) {
    ((struct product *)arg)->freq[id] = (uint8_t)freq;
}

/* The table's hash is keyed; here a fixed mixing does. */
static uint64_t hash_of(uint32_t id) {
    uint64_t z = id * 0x9E3779B97F4A7C15ULL;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
    return z ^ z >> 31;
}

static int by_manifest(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->manifest != y->manifest) return x->manifest < y->manifest ? -1 : 1;
    return x->child < y->child ? -1 : x->child > y->child;
}

static void learn_children(struct product *c) {
    const struct trace *t = c->t;
    size_t n = 0, kept = 0;
    c->children = calloc(t->n + 1, sizeof(*c->children));
    c->first = calloc(t->n_objects + 2, sizeof(*c->first));
    if (!c->children || !c->first) abort();
    for (size_t i = 0; i < t->n; i++) {
        if (t->requests[i].of) c->children[n++] = (struct pair){t->requests[i].of, t->requests[i].object};
    }
    qsort(c->children, n, sizeof(*c->children), by_manifest);
    for (size_t i = 0; i < n; i++) {
        if (kept && by_manifest(&c->children[kept - 1], &c->children[i]) == 0) continue;
        c->children[kept++] = c->children[i];
        c->first[c->children[i].manifest + 1]++;
    }
    for (uint32_t m = 0; m <= t->n_objects; m++)
        c->first[m + 1] += c->first[m];
}

static void *product_start(const struct trace *t, int64_t room, const void *settings) {
    static const struct evict_ops ops = {size_of, freq_of, set_freq};
    struct product *c = calloc(1, sizeof(*c));
    if (!c) abort();
    *c = (struct product){.t = t, .room = room, .as_store = settings != NULL};
    c->queues = evict_new(&ops, c);
    c->freq = calloc(t->n_objects + 1, sizeof(*c->freq));
    c->held = calloc(t->n_objects + 1, sizeof(*c->held));
    if (!c->freq || !c->held) abort();
    if (c->as_store) learn_children(c);
    return c;
}

static void product_end(void *cache) {
    struct product *c = cache;
    evict_free(c->queues);
    free(c->freq);
    free(c->held);
    free(c->children);
    free(c->first);
    free(c);
}

static bool child_held(const struct product *c, uint32_t manifest) {
    for (uint32_t i = c->first[manifest]; i < c->first[manifest + 1]; i++) {
        if (c->held[c->children[i].child]) return true;
    }
    return false;
}

static void evict_down_to(struct product *c, int64_t mark) {
    size_t vetoes = 0, most = evict_len(c->queues);
    while (c->used > mark) {
        uint32_t id;
        int r = evict_next(c->queues, &id);
        if (r == 0) return;
        if (r < 0) continue;
        if (c->as_store && vetoes < most && c->t->objects[id].kind == TRACE_MANIFEST && child_held(c, id)) {
            vetoes++;
            evict_keep(c->queues, id);
            continue;
        }
        evict_gone(c->queues, hash_of(id));
        c->held[id] = false;
        c->used -= size_of(id, c);
    }
}

static bool product_ask(void *cache, size_t i) {
    struct product *c = cache;
    uint32_t id = c->t->requests[i].object;
    if (c->held[id]) {
        if (c->freq[id] < FREQ_MAX) c->freq[id]++;
        return true;
    }
    int64_t size = size_of(id, c), over = c->used + size;
    if (over > (c->as_store ? c->room / 100 * EVICT_START_PERCENT : c->room))
        evict_down_to(c, (c->as_store ? c->room / 100 * EVICT_STOP_PERCENT : c->room) - size);
    c->freq[id] = 0;
    c->held[id] = true;
    c->used += size;
    evict_add(c->queues, id, hash_of(id));
    return false;
}

static bool product_has(const void *cache, uint32_t object) {
    return ((const struct product *)cache)->held[object];
}

static int64_t product_held(const void *cache) {
    return ((const struct product *)cache)->used;
}

const struct policy policy_queues = {
    .key = "entrepot",
    .about = "the product's queues",
    .start = product_start,
    .ask = product_ask,
    .has = product_has,
    .held = product_held,
    .end = product_end,
};

const struct policy policy_store = {
    .key = "entrepot-store",
    .about = "the same between the store's marks",
    .settings = "marks",
    .start = product_start,
    .ask = product_ask,
    .has = product_has,
    .held = product_held,
    .end = product_end,
};
