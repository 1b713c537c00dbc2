/* Threads for work that may block: directory walks, sync, hashing files again. A job reports its end by posting to a
 * loop. Thread: any, unless a function says otherwise. */
#ifndef ENTREPOT_CORE_WORKPOOL_H
#define ENTREPOT_CORE_WORKPOOL_H

#include "common/core/base.h"

struct workpool;

/* Embedded in the object it concerns, like loop_task. fn runs on a thread of the pool and may free it. */
struct work {
    void (*fn)(struct work *w);
    struct work *next;
};

/* name: at most 15 characters, borrowed; shown as the threads' name. Aborts if a thread cannot be started. */
struct workpool *workpool_new(const char *name, unsigned threads);
/* Finishes all submitted work, then joins. */
void workpool_free(struct workpool *p);
/* Any thread. Never blocks, never fails; order of start is submission order. */
void workpool_submit(struct workpool *p, struct work *w);
/* Blocks until no submitted job is waiting or running. Must not be called on one of the pool's threads. */
void workpool_wait_idle(struct workpool *p);

#endif
