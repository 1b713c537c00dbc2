/* The state of the hosted images, for status, doctor and metrics. It is counted again when something has changed. It
 * also tells the store the repositories of hosted blobs that get into the store by another way (a file put back, the
 * same layer pulled from an upstream). Thread: any that may block, unless a function says otherwise. */
#ifndef ENTREPOT_WAREHOUSE_STATE_H
#define ENTREPOT_WAREHOUSE_STATE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "central/warehouse/hosted_restore.h"

struct hosted_state {
    struct hosted *record;
    struct store *store;
    struct workpool *pool;
    pthread_mutex_t lock; /* guards missing; held while the record is walked */
    struct hosted_missing missing;
    _Atomic bool changed;
};

/* Control thread. Everything is borrowed. */
void hosted_state_init(struct hosted_state *s, struct hosted *record, struct store *store, struct workpool *pool);
/* Call when nothing changes any more. Waits until the pool is idle. */
void hosted_state_fini(struct hosted_state *s);
/* Index writer; never blocks for long. Call when the store has got or lost a blob, hosted or not. */
void hosted_state_changed(struct hosted_state *s, const struct digest *d, bool held);
void hosted_state_recount(struct hosted_state *s);
void hosted_state_get(struct hosted_state *s, struct hosted_counts *counts, struct hosted_missing *missing);
/* {"tags","blobs","bytes","missing","missing_bytes","doubt","notice"}. names: adds "missing_blobs", the first of them
 * with their repositories. A new reference. */
json_t *hosted_state_json(struct hosted_state *s, bool names);

#endif
