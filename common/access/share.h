/* A number of places, shared fairly among callers: places at an upstream, requests to central, jobs of the work pool.
 * Each door at which somebody could take all there is has one of these.
 *
 * Who finds no place waits in its caller's own queue, and places go round the callers that wait: first to those that
 * have less than an equal part, then to any. A caller that has a place already gets none of the last eighth, so that
 * whoever comes next is served at once. Kinds of requests (small ones, blobs) have a most each and share by weight, so
 * that neither keeps the other out. A queue that is full refuses its own caller alone; the room of all queues together
 * is shared likewise, a caller that has the more waiting than there is room left gets no more.
 *
 * Thread: the owner's, or under its lock; the numbers of share_stats: any. */
#ifndef ENTREPOT_ACCESS_SHARE_H
#define ENTREPOT_ACCESS_SHARE_H

#include "common/access/caller.h"
#include "common/core/error.h"

struct share;
struct share_caller;

#define SHARE_KINDS 2

/* Embedded in who wants a place; all zero before share_enter. */
struct share_entry {
    struct share_caller *of;
    struct share_entry *next, *prev;
    unsigned kind;
    bool waits, has_place;
};

struct share_config {
    unsigned places; /* at least 1 */
    struct share_kind {
        unsigned most;   /* places at a time; 0: all */
        unsigned weight; /* of two kinds that wait, the one with fewer places for its weight is next; 0 counts as 1 */
    } kinds[SHARE_KINDS];
    unsigned queue_of_one; /* that may wait of one caller */
    unsigned queue;        /* and of all */
    /* It has a place now. From within share_enter, share_move and share_leave; calls nothing of the share's. */
    void (*placed)(struct share_entry *e, void *arg);
    void *arg;
};

struct share *share_new(const struct share_config *cfg);
/* Nobody has a place or waits. */
void share_free(struct share *s);

/* kind: below SHARE_KINDS. must: it is let wait however long the queue is; for what was begun and has to go on. 0: it
 * has a place, or waits for one. ERR_BUSY: too much of this caller's waits already; e is as it was. */
int share_enter(struct share *s, struct share_entry *e, const struct caller *caller, unsigned kind,
                bool must) must_check;
/* Gives its place back, or waits no more; nothing if it is not in the share. */
void share_leave(struct share *s, struct share_entry *e);
/* One that waits is wanted by this caller as well: it waits in that one's queue if fewer stand there. */
void share_move(struct share *s, struct share_entry *e, const struct caller *caller);
/* No place is given any more: the owner ends. */
void share_close(struct share *s);
bool share_is_waited_for(const struct share *s, unsigned kind);

struct share_stats {
    int64_t places, taken, waiting, callers, refused;
};
/* Any thread. */
void share_stats(const struct share *s, struct share_stats *out);

#endif
