/* Jobs that clients cause. Lists are read and written in threads of their own, so that they delay nothing else, and
 * callers share these threads. Thread: as each function says. */
#ifndef ENTREPOT_SERVE_TURN_H
#define ENTREPOT_SERVE_TURN_H

#include "common/access/share.h"
#include "common/core/loop.h"
#include "common/core/workpool.h"

#include <stdatomic.h>

struct turns;

/* Embedded in the job. run and back.fn are set before turns_take. */
struct turn {
    struct turns *turns;
    struct share_entry place;
    struct work work;
    struct turn *next;
    atomic_bool unwanted;
    void (*run)(struct turn *t); /* a thread of the pool */
    struct loop *loop;           /* the loop that back is posted to after run */
    struct loop_task back;
};

struct turns_config {
    struct workpool *pool; /* a pool of `threads` threads that nobody else uses */
    unsigned threads;
    unsigned queue_of_one, queue; /* as in share.h */
};
struct turns *turns_new(const struct turns_config *cfg);
/* Only when nothing is waiting or running. */
void turns_free(struct turns *ts);
/* Any thread. 0: run, then back will be called once each; t->loop is the calling loop. ERR_BUSY: too many jobs of this
 * caller wait already; nothing is called. */
int turns_take(struct turns *ts, struct turn *t, const struct caller *caller) must_check;
/* The loop that back is called on, before back. Nobody waits for the job any more: back is called without run, unless
 * run has begun. */
void turn_unwanted(struct turn *t);
/* Any thread. */
void turns_stats(const struct turns *ts, struct share_stats *out);

#endif
