/* A part of a node: one thing that starts, runs and stops with it, in a folder of its own, as central's catalogue or an
 * edge's link. It is a constant table of functions; its state is what its start made. The list of a program's parts, in
 * order, stands in central/serve.c and edge/serve.c: to add a part is a folder and a line there.
 *
 * The node starts parts in the order of the list. Each may use those before it, through struct node or node_part. It
 * stops them in the reverse order; if one cannot start, those that have started are stopped and the error is told. */
#ifndef ENTREPOT_NODE_PART_H
#define ENTREPOT_NODE_PART_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/access/route.h"
#include "common/fill/ledger.h"
#include "common/source/supply.h"
#include "common/http/client.h"
#include "common/metrics/metrics.h"
#include "common/config/node_config.h"
#include "common/serve/policy.h"
#include "common/serve/registry.h"

struct asker;
struct node;
struct probes; /* common/node/probe.h */

struct part {
    const char *name; /* a word for the log */
    /* Control thread; no loop runs yet. Makes the part's state (*self), which the functions below get. On failure
     * nothing of it is left, and *err says what was wrong. */
    int (*start)(struct node *n, void **self, struct error *err);
    /* All that follow may be NULL. */

    /* Fetch loop: every part has started, background work may begin. */
    void (*running)(void *self);
    /* Control loop: the end has begun. Nothing new should begin; what is under way goes on. */
    void (*ending)(void *self);
    /* Control thread, after the loops were joined (or never ran): frees the state. */
    void (*stop)(void *self);
    /* What it answers on the admin port, the control socket and the fleet port; handlers get self. Ends with a path of
     * NULL. */
    const struct route *routes;
    /* Work pool: adds its keys to /api/status, and its facts to /api/doctor (admin/control_client.h has their shape).
     */
    void (*status)(json_t *into, void *self);
    void (*doctor)(json_t *into, void *self);
    /* Whoever makes a page of /metrics. */
    void (*metrics)(struct metric_page *page, void *self);
};

#define PARTS_MAX 24

#define NODE_LIST_THREADS 2

/* What a part may know of the node it lives in. Control thread, but what is said there is constant once all parts have
 * started. */
struct node {
    const struct node_config *config; /* first member of the program's own */
    struct loop *control, *fetch;
    struct loop *const *serving;
    unsigned n_serving;
    struct workpool *pool;      /* what takes long: syncs, hashing, walks */
    struct workpool *lists;     /* lists that clients ask for: in turns (serve/turn.h) */
    struct workpool *reads;     /* what a client waits for: opening and reading what is not in memory */
    struct http_client *client; /* on the fetch loop */
    struct probes *probes;      /* on the fetch loop, for doctor */
    char *const *addresses;     /* what clients may call this node */
    size_t n_addresses;

    /* Set by the parts that bear these names, as they start. */
    struct store *store;
    struct content *content; /* comes and goes with the store */
    struct asker *asker;
    struct fill_engine *fills;
    struct registry *registry;
    /* Set by a part before part_asker; they stay valid until it stops. */
    const struct policy *policy;
    const struct supply *supply;
    const struct ledger *ledger;     /* NULL: nothing is known before it is fetched */
    const struct keeper *keeper;     /* NULL: all that is held can be had again */
    const struct store_guard *guard; /* of the store; NULL: none. Set before all parts */

    /* The node's own. */
    atomic_uint holds;
    struct part_started {
        const struct part *part;
        void *self;
    } parts[PARTS_MAX];
    size_t n_parts;
};

/* The state of a part that has started; it is a bug to ask for another, and ends the process. */
void *node_part(const struct node *n, const struct part *p);
/* In start: clients are not answered until node_release was called, once, from any thread. They wait in the sockets'
 * queues. */
void node_hold(struct node *n);
void node_release(struct node *n);
/* Any thread: a condition of the node's being ready, as health_set says. name: static. */
void node_condition(struct node *n, const char *name, const char *reason);
/* Control thread, no loop runs any more: what work pool and loops still have for each other is run to its end. */
void node_settle(struct node *n);

/* Parts that both programs have. */
extern const struct part part_store;    /* the blobs on disk */
extern const struct part part_asker;    /* questions to sources */
extern const struct part part_fills;    /* downloads */
extern const struct part part_registry; /* /v2/ */

#endif
