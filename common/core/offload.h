/* Work that may block, done for a loop: it runs in a work pool, and its end is told on the loop. Thread: as each
 * function says. */
#ifndef ENTREPOT_CORE_OFFLOAD_H
#define ENTREPOT_CORE_OFFLOAD_H

#include "common/core/loop.h"
#include "common/core/workpool.h"

/* Embedded in the object it concerns, which must stay until back is called. Zero-initialise. */
struct offload {
    void (*run)(struct offload *o);  /* work pool */
    void (*back)(struct offload *o); /* the loop, after run; may free the object, or start it again */
    uint64_t whose;                  /* as in struct work */
    /* offload.c's own: */
    struct work work;
    struct loop_task task;
    struct loop *loop;
};

/* Any thread. back is called on the loop l. */
void offload_start(struct offload *o, struct workpool *pool, struct loop *l);

#endif
