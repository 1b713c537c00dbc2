/* The last changes of the catalogue in memory, ready to be sent to every edge that watches. A change is read from the
 * log once, just after its commit, and its bytes are shared by all who send them. Thread: as each function says. */
#ifndef ENTREPOT_FLEET_FEED_H
#define ENTREPOT_FLEET_FEED_H

#include "central/catalog/replica_reads.h"
#include "common/core/loop.h"
#include "common/core/workpool.h"

#include <stdatomic.h>

struct feed;

/* Some changes, in their order. Immutable; counted. */
struct feed_block {
    atomic_uint refs;
    uint64_t before;    /* the number they follow */
    struct place place; /* after them */
    size_t len;
    uint8_t bytes[]; /* framed messages */
};
void feed_block_unref(void *block);

/* told(arg) is called on each of the loops after a change; another call may have read it by then. */
struct feed_config {
    struct catalog *catalog;
    struct workpool *pool;
    struct loop *const *loops;
    unsigned n_loops;
    void (*told)(unsigned loop, void *arg);
    void *arg;
};
/* Control thread. */
struct feed *feed_new(const struct feed_config *cfg);
/* Control loop: no further change is read. */
void feed_stop(struct feed *f);
/* Control thread, when loops and pool have nothing to do any more. */
void feed_free(struct feed *f);

/* Any thread. True while the log cannot be read, so that changes are missing here; it is then tried again. */
bool feed_is_behind(struct feed *f);
/* Any thread: the place of the last change that is here. */
void feed_place(struct feed *f, struct place *out);
/* Any thread: takes references to the blocks after number, at most max, in order. False: some of them are not in memory
 * any more. */
#define FEED_BLOCKS 64
bool feed_after(struct feed *f, uint64_t number, struct feed_block *out[FEED_BLOCKS], unsigned *n);

#endif
