/* Decides which blob is evicted next: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP
 * 2023) over entry numbers, by bytes. New ones queue in a small part (10 % of the bytes); what was used there, or comes
 * back soon after it went (ghosts), moves to the main part, where being used buys another round. A one-off scan passes
 * through the small part and leaves the main part alone. Two things differ from the paper, both by measurement
 * (tests/bench/eviction). What is tiny and would go is spared for a while in a queue of its own that may hold 2 % of
 * the bytes: it takes hardly any room and saves a round trip. And ghosts live a quarter as long, for what comes back
 * only after a night's scan is that scan again. Pure data: no I/O, no clock. Thread: owned by its user; no locking (the
 * store has one lock around it). */
#ifndef ENTREPOT_STORE_EVICT_H
#define ENTREPOT_STORE_EVICT_H

#include "common/core/base.h"

/* A store evicts in bulk when so much of its limit is used, down to so much. Close together and close to the limit: 95
 * and 90 would cost two points of byte hits where room is scarce (tests/bench/eviction). */
#define EVICT_START_PERCENT 98
#define EVICT_STOP_PERCENT 96

struct evict;

/* Sizes and use live with the entries. freq: 0 to 3. */
struct evict_ops {
    int64_t (*size)(uint32_t id, void *arg);
    unsigned (*freq)(uint32_t id, void *arg);
    void (*set_freq)(uint32_t id, unsigned freq, void *arg);
};

struct evict *evict_new(const struct evict_ops *ops, void *arg);
void evict_free(struct evict *e);
/* A new entry (hash: of its name, the same whenever it comes back). Its size must not change while it is queued. */
void evict_add(struct evict *e, uint32_t id, uint64_t hash);
/* One known to be worth keeping: to the young end of the main queue. */
void evict_keep(struct evict *e, uint32_t id);
bool evict_has(const struct evict *e, uint32_t id);
/* Takes it out wherever it is; nothing happens if it is nowhere. */
void evict_remove(struct evict *e, uint32_t id);
/* 1: *id should go, and is in no queue now (evict_keep brings it back); 0: nothing queued; -1: looked at many without
 * finding one, call again (the bound keeps the lock's hold short). */
int evict_next(struct evict *e, uint32_t *id);
/* It did go: remember that for a while. */
void evict_gone(struct evict *e, uint64_t hash);
size_t evict_len(const struct evict *e);

#endif
