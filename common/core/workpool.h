/* Threads for what may block: directory walks, sync, re-hashing, reading from a slow disk. Jobs finish by posting to a
 * loop themselves.
 *
 * A job may say for whom it is. Each caller's jobs start in the order they were submitted, and callers take turns, as
 * does the node itself (whose 0). A caller that has a job running does not get the last idle thread, so
 * that the next caller does not wait behind a thousand slow jobs of another. */
#ifndef ENTREPOT_CORE_WORKPOOL_H
#define ENTREPOT_CORE_WORKPOOL_H

#include "common/core/base.h"

struct workpool;

/* Embedded in the object it concerns, like loop_task. */
struct work {
    void (*fn)(struct work *w);
    uint64_t whose; /* a caller's number (access/caller.h); 0: the node's own */
    struct work *next;
};

struct workpool *workpool_new(const char *name, unsigned threads);
/* Finishes all submitted work, then joins. */
void workpool_free(struct workpool *p);
/* Any thread. Never blocks, never fails. */
void workpool_submit(struct workpool *p, struct work *w);
/* Waits until nothing submitted is waiting or running. Not from one of its threads. */
void workpool_wait_idle(struct workpool *p);

#endif
