/* S3-FIFO over numbers: three doubly linked lists in one array of nodes, and a table of ghosts. Thread: owned by its
 * user. */
#include "common/store/evict.h"

#include "common/core/alloc.h"

#include <assert.h>
#include <string.h>

enum queue { NONE, SMALL, MAIN, SPARED, QUEUES };

#define SMALL_SHARE 10 /* the small queue's part of the bytes: one tenth */
/* By `make bench-eviction`, sparing and short-lived ghosts take the object hit ratio from 53, 72 and 92 % to 77, 86 and
 * 93 % with room for 5, 10 and 25 % of the footprint. Twice the size and share would add two points at most, and cost
 * half a one of byte hits. */
#define TINY (512 * KiB)
#define SPARED_SHARE 50 /* the spared queue's part: one fiftieth */
#define GHOST_SHARE 4
#define STEPS 512 /* entries looked at in one evict_next */
#define GHOST_WAYS 4u
#define GHOSTS_MIN 4096u
#define GHOSTS_MAX (1u << 20)

struct node {
    uint32_t older, younger;
};

struct list {
    uint32_t oldest, youngest;
    size_t n;
    int64_t bytes;
};

/* A ghost lives until a quarter as many others have gone as there are entries now (without those that are spared): with
 * the whole number, byte hits are a point fewer. */
struct ghost {
    uint32_t print; /* 0: free */
    uint32_t born;  /* in evictions */
};

struct evict {
    struct evict_ops ops;
    void *arg;
    struct node *nodes;
    uint8_t *queue; /* enum queue of each number */
    size_t cap;
    struct list lists[QUEUES];
    struct ghost *ghosts;
    uint32_t n_ghosts;
    uint32_t evictions;
    size_t refused; /* candidates of the small and main queues in a row that did not go, as far as is known */
    bool forced;    /* the last candidate was a spared one for that reason */
};

struct evict *evict_new(const struct evict_ops *ops, void *arg) {
    struct evict *e = xcalloc(1, sizeof(*e));
    e->ops = *ops;
    e->arg = arg;
    return e;
}

void evict_free(struct evict *e) {
    if (!e) return;
    free(e->nodes);
    free(e->queue);
    free(e->ghosts);
    free(e);
}

size_t evict_len(const struct evict *e) {
    return e->lists[SMALL].n + e->lists[MAIN].n + e->lists[SPARED].n;
}

bool evict_has(const struct evict *e, uint32_t id) {
    return id < e->cap && e->queue[id] != NONE;
}

static void grow(struct evict *e, uint32_t id) {
    if (id < e->cap) return;
    size_t cap = e->cap ? e->cap : 1024;
    while (cap <= id)
        cap += cap / 4; /* gently: at a million blobs a doubling would be 9 MB of nothing */
    e->nodes = xrealloc(e->nodes, cap, sizeof(*e->nodes));
    e->queue = xrealloc(e->queue, cap, 1);
    memset(e->queue + e->cap, 0, cap - e->cap);
    e->cap = cap;
}

static void push(struct evict *e, enum queue q, uint32_t id) {
    assert(id != 0);
    grow(e, id);
    assert(e->queue[id] == NONE);
    struct list *l = &e->lists[q];
    e->nodes[id] = (struct node){.older = l->youngest};
    if (l->youngest)
        e->nodes[l->youngest].younger = id;
    else
        l->oldest = id;
    l->youngest = id;
    l->n++;
    l->bytes += e->ops.size(id, e->arg);
    e->queue[id] = (uint8_t)q;
}

void evict_remove(struct evict *e, uint32_t id) {
    if (!evict_has(e, id)) return;
    struct list *l = &e->lists[e->queue[id]];
    struct node n = e->nodes[id];
    *(n.older ? &e->nodes[n.older].younger : &l->oldest) = n.younger;
    *(n.younger ? &e->nodes[n.younger].older : &l->youngest) = n.older;
    l->n--;
    l->bytes -= e->ops.size(id, e->arg);
    e->queue[id] = NONE;
}

/* --- ghosts: GHOST_WAYS slots a place; a newcomer takes a free, dead or the oldest one --- */

static uint32_t print_of(uint64_t hash) {
    uint32_t p = (uint32_t)(hash >> 20);
    return p ? p : 1;
}

static struct ghost *ghost_set(const struct evict *e, uint32_t print) {
    return &e->ghosts[(print & (e->n_ghosts / GHOST_WAYS - 1)) * GHOST_WAYS];
}

static size_t ghost_life(const struct evict *e) {
    size_t life = (e->lists[SMALL].n + e->lists[MAIN].n) / GHOST_SHARE;
    return life > 64 ? life : 64;
}

static bool ghost_dead(const struct evict *e, const struct ghost *g) {
    return g->print == 0 || e->evictions - g->born > ghost_life(e);
}

static void ghost_put(struct evict *e, struct ghost ghost) {
    struct ghost *set = ghost_set(e, ghost.print), *place = &set[0];
    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        if (ghost_dead(e, &set[i])) {
            place = &set[i];
            break;
        }
        if (e->evictions - set[i].born > e->evictions - place->born) place = &set[i];
    }
    *place = ghost;
}

static void ghosts_fit(struct evict *e) {
    uint32_t want = e->n_ghosts ? e->n_ghosts : GHOSTS_MIN;
    while (want < 2 * ghost_life(e) && want < GHOSTS_MAX)
        want *= 2;
    if (want == e->n_ghosts) return;
    struct ghost *old = e->ghosts;
    uint32_t n_old = e->n_ghosts;
    e->ghosts = xcalloc(want, sizeof(*e->ghosts));
    e->n_ghosts = want;
    for (uint32_t i = 0; i < n_old; i++) {
        if (!ghost_dead(e, &old[i])) ghost_put(e, old[i]);
    }
    free(old);
}

void evict_gone(struct evict *e, uint64_t hash) {
    ghosts_fit(e);
    e->evictions++;
    /* After a spared one, its parents may go: one of the others is tried, then one more that is spared. */
    size_t others = e->lists[SMALL].n + e->lists[MAIN].n;
    e->refused = e->forced && others > 0 ? others - 1 : e->refused / 2;
    e->forced = false;
    ghost_put(e, (struct ghost){print_of(hash), e->evictions});
}

static bool ghost_take(struct evict *e, uint64_t hash) {
    if (!e->ghosts) return false;
    struct ghost *set = ghost_set(e, print_of(hash));
    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        if (set[i].print != print_of(hash) || ghost_dead(e, &set[i])) continue;
        set[i].print = 0;
        return true;
    }
    return false;
}

/* --- the queues --- */

void evict_add(struct evict *e, uint32_t id, uint64_t hash) {
    if (evict_has(e, id)) return;
    push(e, ghost_take(e, hash) ? MAIN : SMALL, id);
}

void evict_keep(struct evict *e, uint32_t id) {
    if (!evict_has(e, id)) push(e, MAIN, id);
}

/* Large manifests must stay while a child is held, and a child stays that is tiny or used: with nothing else left to
 * go, it goes. */
static bool all_refused(const struct evict *e) {
    return e->refused > 0 && e->refused >= e->lists[SMALL].n + e->lists[MAIN].n;
}

/* Whose oldest is looked at. */
static enum queue next_queue(const struct evict *e) {
    const struct list *small = &e->lists[SMALL], *mainq = &e->lists[MAIN], *spared = &e->lists[SPARED];
    int64_t bytes = small->bytes + mainq->bytes;
    bool enough = spared->bytes > (bytes + spared->bytes) / SPARED_SHARE;
    bool refused = all_refused(e);
    if (spared->n && (small->n + mainq->n == 0 || enough || refused)) return SPARED;
    if (small->n && refused) return SMALL; /* a child behind large manifests that are in the main queue */
    return small->n && (mainq->n == 0 || small->bytes > bytes / SMALL_SHARE) ? SMALL : MAIN;
}

int evict_next(struct evict *e, uint32_t *id) {
    for (int step = 0; step < STEPS; step++) {
        if (evict_len(e) == 0) return 0;
        bool forced = all_refused(e);
        enum queue from = next_queue(e), to = MAIN;
        *id = e->lists[from].oldest;
        unsigned freq = e->ops.freq(*id, e->arg);
        evict_remove(e, *id);
        if (freq > 0 && !forced)
            e->ops.set_freq(*id, from == MAIN ? freq - 1 : 0, e->arg);
        else if (from != SPARED && e->ops.size(*id, e->arg) <= TINY)
            to = SPARED;
        else {
            e->forced = forced && from == SPARED;
            if (from != SPARED) e->refused++; /* until evict_gone says otherwise */
            return 1;
        }
        push(e, to, *id);
    }
    return -1;
}
