/* GET /fleet/v1/watch (docs/protocol.md "Edge to central"): an answer without an end, by which an edge knows that its
 * settings are still central's, and learns what changes in the catalogue. Its head has the version of the settings and
 * is sent at once. With ?from=PLACE the changes after that place follow, or a message that they cannot be told (`gone`)
 * and the changes from now on. A message comes at least every few seconds until central stops or dies.
 *
 * With &wait=SECONDS it is a poll, for an edge whose connection holds answers back until they are complete: it ends
 * after the changes that are there, or else after the next ones, or when there is something new of the fleet or, for
 * who asks for that, of the DNS, or after that time.
 *
 * What waits to be sent to one edge is bounded: one that does not read is told `gone` and its answer ended. Thread: as
 * each function says. */
#ifndef ENTREPOT_FLEET_WATCH_H
#define ENTREPOT_FLEET_WATCH_H

#include "central/catalog/catalog.h"
#include "common/core/buf.h"
#include "common/core/workpool.h"
#include "common/http/server.h"

struct watches;

/* What is sent beside changes to edges that ask for it. */
struct watch_aside {
    uint64_t (*version)(void *arg); /* another number when there is something new; 0: nothing yet. Any thread */
    /* Any thread: appends the newest, as a message with its length in front. Returns its version; 0: there is none. */
    uint64_t (*add)(struct buf *out, void *arg);
    void *arg;
};

struct watches_config {
    struct catalog *catalog;
    struct workpool *pool;
    struct loop *const *loops; /* the serving loops */
    unsigned n_loops;
    uint64_t settings;            /* the version of the current settings */
    int64_t queue;                /* bytes that may wait for one edge */
    uint64_t (*fleet)(void *arg); /* the version of the fleet's state; any thread. NULL: there is none */
    void *arg;
};
/* Control thread. */
struct watches *watches_new(const struct watches_config *cfg);
/* Control loop: the node is stopping. */
void watches_stop(struct watches *ws);
/* Control loop: the fleet's state has another version. */
void watches_tell_fleet(struct watches *ws);
/* In start: what edges get that ask for the DNS. */
void watches_set_dns(struct watches *ws, const struct watch_aside *dns);
/* Any thread: there is something new of it. */
void watches_tell_dns(struct watches *ws);
/* Control thread, when no loop or job runs any more. */
void watches_free(struct watches *ws);

/* The handler, on the request's loop. Path and method have been matched. */
void watch_handle(struct watches *ws, struct http_req *r);

struct watches_stats {
    int64_t watching, cut; /* edges that follow changes now; that did not read */
};
/* Any thread. */
void watches_stats(const struct watches *ws, struct watches_stats *out);

#endif
