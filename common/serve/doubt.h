/* Another node of ours says that bytes it got from here do not match their digest. The blob is read again before that
 * node is answered, and is held no more if it is wrong: then the answer comes from a source. Thread: the cases belong
 * to the fetch loop; reading is done in the work pool. */
#ifndef ENTREPOT_SERVE_DOUBT_H
#define ENTREPOT_SERVE_DOUBT_H

#include "common/core/digest.h"
#include "common/core/loop.h"
#include "common/core/workpool.h"

/* The request header by which a node says so. */
#define DOUBT_HEADER "Entrepot-Doubt"
#define DOUBT_MISMATCH "mismatch"

struct doubts;

struct doubts_config {
    struct loop *loop;
    struct workpool *pool;
    /* Work pool: reads a blob again and drops it if it is wrong. 0: it is right. */
    int (*recheck)(const struct digest *d, void *arg);
    void *arg;
};

struct doubts *doubts_new(const struct doubts_config *cfg);
/* When nobody waits any more. */
void doubts_free(struct doubts *k);
/* Any loop: done(arg) later on the same loop, never before this returns, once d has been read again. One blob is read
 * at a time, once however many doubt it. Whoever doubts what is right is not a burden: after a blob was found right
 * nobody is believed for some time, at least DOUBT_REST times as long as reading it took, and done comes at once. */
#define DOUBT_REST 9
void doubts_raise(struct doubts *k, const struct digest *d, void (*done)(void *arg), void *arg);

#endif
