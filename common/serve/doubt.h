/* Handles doubts: another node says that bytes it got from here do not match their digest (docs/protocol.md "Edge to
 * central"). The blob is read again before that node is answered. If it is wrong it is dropped, and the answer comes
 * from a source. Thread: the fetch loop owns the cases; blobs are read in the work pool. */
#ifndef ENTREPOT_SERVE_DOUBT_H
#define ENTREPOT_SERVE_DOUBT_H

#include "common/core/digest.h"
#include "common/core/loop.h"
#include "common/core/workpool.h"

struct doubts;

struct doubts_config {
    struct loop *loop;
    struct workpool *pool;
    /* Work pool. Reads a blob again, and drops it if it is wrong. 0: it is right. */
    int (*recheck)(const struct digest *d, void *arg);
    void *arg;
};

struct doubts *doubts_new(const struct doubts_config *cfg);
/* Only when nobody waits any more. */
void doubts_free(struct doubts *k);
/* Any loop. Calls done(arg) later on the same loop, never before it returns, once d has been read again. One blob is
 * read at a time, and once however many nodes doubt it. So that doubts without cause cost little, further doubts are
 * ignored (done is called at once) after a blob was found right, for at least DOUBT_REST times as long as reading it
 * took. */
#define DOUBT_REST 9
void doubts_raise(struct doubts *k, const struct digest *d, void (*done)(void *arg), void *arg);

#endif
