/* Each thread has a slot of its own, in which it puts the time at which it began, counted in retirements. Thread: as the
 * header says. */
#include "edge/replica/readers.h"

#include "common/core/alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SLOTS 128

struct retired {
    void *p;
    uint64_t at;
    struct retired *next;
};

struct readers {
    _Atomic uint64_t now; /* never 0 */
    struct slot {
        _Alignas(64) _Atomic uint64_t since; /* 0: does not read */
    } slots[SLOTS + 1];                      /* the last is for a pin */
    pthread_mutex_t late;                    /* held by readers that have no slot, and while something is freed */
    struct retired *first, **last;
};

static unsigned own_slot(void) {
    static atomic_uint taken;
    static _Thread_local unsigned own; /* plus one; 0: none yet */
    if (own == 0) own = atomic_fetch_add(&taken, 1) % UINT32_MAX + 1;
    return own - 1;
}

unsigned readers_begin(struct readers *all) {
    unsigned slot = own_slot();
    if (slot >= SLOTS)
        pthread_mutex_lock(&all->late);
    else /* sequentially consistent: either the writer sees this, or this thread sees what the writer has put */
        atomic_store(&all->slots[slot].since, atomic_load(&all->now));
    return slot;
}

void readers_end(struct readers *all, unsigned slot) {
    if (slot >= SLOTS)
        pthread_mutex_unlock(&all->late);
    else
        atomic_store_explicit(&all->slots[slot].since, 0, memory_order_release);
}

void readers_pin(struct readers *all) {
    atomic_store(&all->slots[SLOTS].since, atomic_load(&all->now));
}

void readers_unpin(struct readers *all) {
    atomic_store_explicit(&all->slots[SLOTS].since, 0, memory_order_release);
}

/* The time at which the oldest reader that still reads has begun. */
static uint64_t oldest(struct readers *all) {
    uint64_t at = UINT64_MAX;
    for (unsigned i = 0; i <= SLOTS; i++) {
        uint64_t since = atomic_load(&all->slots[i].since);
        if (since && since < at) at = since;
    }
    return at;
}

static void free_until(struct readers *all, uint64_t at) {
    while (all->first && all->first->at <= at) {
        struct retired *r = all->first;
        all->first = r->next;
        if (!all->first) all->last = &all->first;
        free(r->p);
        free(r);
    }
}

void readers_retire(struct readers *all, void *p) {
    if (!p) return;
    struct retired *r = xmalloc(sizeof(*r));
    *r = (struct retired){.p = p, .at = atomic_fetch_add(&all->now, 1) + 1};
    *all->last = r;
    all->last = &r->next;
    pthread_mutex_lock(&all->late);
    free_until(all, oldest(all));
    pthread_mutex_unlock(&all->late);
}

struct readers *readers_new(void) {
    struct readers *all = aligned_alloc(64, (sizeof(*all) + 63) / 64 * 64);
    if (!all) out_of_memory();
    *all = (struct readers){.now = 1};
    all->last = &all->first;
    pthread_mutex_init(&all->late, NULL);
    return all;
}

void readers_free(struct readers *all) {
    if (!all) return;
    free_until(all, UINT64_MAX);
    pthread_mutex_destroy(&all->late);
    free(all);
}
