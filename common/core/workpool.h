/* Threads for what may block: directory walks, sync, re-hashing, scrub. Jobs finish by posting to a loop themselves. */
#ifndef ENTREPOT_CORE_WORKPOOL_H
#define ENTREPOT_CORE_WORKPOOL_H

#include "common/core/base.h"

struct workpool;

/* Embedded in the object it concerns, like loop_task. */
struct work {
    void (*fn)(struct work *w);
    struct work *next;
};

struct workpool *workpool_new(const char *name, unsigned threads);
/* Finishes all submitted work, then joins. */
void workpool_free(struct workpool *p);
/* Any thread. Never blocks, never fails; order of start is submission order. */
void workpool_submit(struct workpool *p, struct work *w);
/* Waits until nothing submitted is waiting or running. Not from one of its threads. */
void workpool_wait_idle(struct workpool *p);

#endif
