/* A number of places, shared fairly among callers: places at an upstream, requests to central, jobs of the work pool.
 * There is one of these wherever a single caller could otherwise take everything.
 *
 * A caller that finds no place waits in a queue of its own. Free places go round the callers that wait: first to those
 * that have less than an equal part, then to any. A caller that already has a place gets none of the last eighth, so
 * that a new caller is served at once. The clients of one node are a group: free places go round groups first, and in a
 * group round its clients. A client that already has a place leaves a quarter, for other clients of its node and for
 * other groups. Each kind of request (small ones, blobs) has a maximum, and kinds share by weight, so that neither
 * blocks the other. A full queue refuses only its own caller. The space of all queues together is shared, too: a caller
 * that has more waiting than there is space left may not add any. What goes on after it had a place takes none of that
 * space: however much of one caller's waits, it keeps no other caller out.
 *
 * The body of a blob may take long. A caller that finds no place for a new request therefore takes the place of the
 * slowest body that has been coming for half a second (less if many requests are new). That body goes on later
 * (share_enter with begun): it waits its turn, after six seconds takes a place in the same way, and keeps that for at
 * least as long. Bodies that go on, and with several callers those that have had their first half second, leave a
 * quarter of the places to new requests, which therefore seldom wait for one. So every body begins soon, a small one is
 * complete before it could lose its place, and the large ones take turns. Each new request takes at most one place, so
 * each costs at most one more request.
 *
 * Thread: the owner's, or under its lock; share_stats: any. */
#ifndef ENTREPOT_ACCESS_SHARE_H
#define ENTREPOT_ACCESS_SHARE_H

#include "common/access/caller.h"
#include "common/core/error.h"
#include "common/core/loop.h"

struct share;
struct share_caller;

#define SHARE_KINDS 2

/* Embedded in the object that wants a place; all zero before share_enter. */
struct share_entry {
    struct share_caller *of;
    struct share_entry *next, *prev;
    unsigned kind;
    bool waits, has_place;
    /* For giving way. */
    bool begun, in_row, flows;
    bool had_turn;    /* its first one is over, and it counts as begun */
    int64_t since_ms; /* it waits, or its body comes */
    struct share_entry *row_next, *row_prev;
};

struct share_config {
    unsigned places; /* at least 1 */
    struct share_kind {
        unsigned most;        /* places at a time; 0: all */
        unsigned most_of_one; /* places of one caller at a time; 0: no bound of its own */
        /* The same while others ask, too; 0: no bound. Many small requests under way cost others
         * time even where there are places enough, because one thread serves them all. */
        unsigned most_beside_others;
        unsigned weight; /* of two kinds that wait, the one with fewer places for its weight is next; 0 counts as 1 */
    } kinds[SHARE_KINDS];
    unsigned queue_of_one; /* new entries of one caller that may wait */
    unsigned queue;        /* new entries of all callers that may wait */
    /* Called when an entry has got a place, from within share_enter, share_move and share_leave. It must not call
     * functions of the share. */
    void (*placed)(struct share_entry *e, void *arg);
    /* The loop of the owner's thread; NULL: no entry ever loses its place. */
    struct loop *loop;
    int64_t later_turn_ms; /* how long a body that goes on keeps its place; 0: six seconds */
    /* Returns how fast the body comes, in bytes a second; -1: it is nearly complete and keeps its place. */
    int64_t (*speed)(const struct share_entry *e, void *arg);
    /* The entry loses its place: the owner ends the request and calls share_leave before it returns. Called from the
     * loop. */
    void (*give_way)(struct share_entry *e, void *arg);
    void *arg;
};

struct share *share_new(const struct share_config *cfg);
/* Only when no entry has a place or waits. */
void share_free(struct share *s);

/* Asks for a place. kind: below SHARE_KINDS. begun: it had a place before and must go on, so it waits however long the
 * queue is. 0: it has a place, or waits for one. ERR_BUSY: too many entries of this caller wait already; e is
 * unchanged. */
int share_enter(struct share *s, struct share_entry *e, const struct caller *caller, unsigned kind,
                bool begun) must_check;
/* The body of e, which has a place, begins to come: from now on e may lose its place to a new request. */
void share_flows(struct share *s, struct share_entry *e);
/* The same for e that has only asked for its body, where asking again costs little: after two seconds. */
void share_asks(struct share *s, struct share_entry *e);
/* Gives back the place of e, or stops its waiting. Does nothing if e is not in the share. */
void share_leave(struct share *s, struct share_entry *e);
/* Another caller wants the same as e, which waits: moves e to that caller's queue if it is shorter. */
void share_move(struct share *s, struct share_entry *e, const struct caller *caller);
/* No place is given any more, because the owner ends. */
void share_close(struct share *s);

struct share_stats {
    int64_t places, taken, waiting, callers, refused, gave_way;
};
/* Any thread. */
void share_stats(const struct share *s, struct share_stats *out);

#endif
