/* A part of a node: something that starts, runs and stops with it, in a folder of its own, such as central's catalogue
 * or an edge's link. A part is a constant table of functions; its start makes its state. The lists of parts are in
 * central/node.c and edge/node.c. To add a part, make a folder and add a line there.
 *
 * The node starts the parts in the order of the list. Each part may use those before it, through struct node or
 * node_part. The node stops them in the reverse order. If one cannot start, those that have started are stopped, and
 * the error is reported. Thread: as each function says. */
#ifndef ENTREPOT_NODE_NODE_PART_H
#define ENTREPOT_NODE_NODE_PART_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/access/gate.h"
#include "common/access/route.h"
#include "common/fill/ledger.h"
#include "common/source/supply.h"
#include "common/http/client.h"
#include "common/metrics/metrics.h"
#include "common/config/node_config.h"
#include "common/serve/director.h"
#include "common/serve/policy.h"
#include "common/serve/registry.h"

struct asker;
struct node;
struct probes; /* common/node/probe.h */

struct node_part {
    const char *name; /* its name in the log */
    /* Control thread, before any loop runs. Makes the part's state (*self), which the functions below get. On failure
     * nothing of it is left, and *err says what was wrong. */
    int (*start)(struct node *n, void **self, struct error *err);
    /* All that follow may be NULL. */

    /* Fetch loop. All parts have started; background work may begin. */
    void (*running)(void *self);
    /* Control loop. The node is stopping: nothing new should begin; running work goes on. */
    void (*ending)(void *self);
    /* Control thread, after the loops were joined (or never ran): frees the state. */
    void (*stop)(void *self);
    /* Its routes on the admin port, the control socket and the fleet port; handlers get self. Ends with a path of
     * NULL. */
    const struct route *routes;
    /* Work pool: adds its keys to /api/status, and its facts to /api/doctor (admin/control_client.h has their shape).
     */
    void (*status)(json_t *into, void *self);
    void (*doctor)(json_t *into, void *self);
    /* Serving loop, must not block: adds its facts to /readyz. */
    void (*ready)(json_t *into, void *self);
    /* On the thread that makes a page of /metrics. */
    void (*metrics)(struct metric_page *page, void *self);
    /* Control loop, on SIGHUP, if the configuration is valid: takes what may change while the node runs from fresh,
     * which is borrowed for the call. Returns what it did, in words, for the log; NULL: nothing. */
    const char *(*reload)(void *self, const struct node_config *fresh);
};

#define PARTS_MAX 24

#define NODE_LIST_THREADS 2

/* What a part may use of its node. Thread: control; the fields that a function below may read are constant once all
 * parts have started. */
struct node {
    const struct node_config *config; /* the first member of the program's own configuration */
    struct loop *control, *fetch;
    struct loop *const *serving;
    unsigned n_serving;
    struct workpool *pool;      /* for long work: syncs, hashing, walks */
    struct workpool *lists;     /* for lists that clients request, by turns (serve/turn.h) */
    struct workpool *reads;     /* for opening and reading files while a client waits */
    struct http_client *client; /* on the fetch loop */
    struct probes *probes;      /* on the fetch loop, for doctor */
    char *const *addresses;     /* names by which clients may reach this node */
    size_t n_addresses;

    /* Set by the parts that bear these names, as they start. */
    struct store *store;
    struct content *content; /* made and freed with the store */
    struct asker *asker;
    struct fill_engine *fills;
    struct registry *registry;
    /* Set by a part before part_asker; they stay valid until it stops. */
    const struct policy *policy;
    const struct supply *supply;
    const struct ledger *ledger;     /* NULL: nothing is known of a digest before it is fetched */
    const struct keeper *keeper;     /* NULL: all held content has another source */
    const struct director *director; /* NULL: every client is served here */
    const struct gate *gate;         /* who may enter the fleet port over TLS; NULL: that port does not speak TLS */
    struct tls_server *registry_tls; /* of the registry port, where registry.tls is fleet */
    const struct store_guard *guard; /* guard of the store; NULL: none. Set before all parts */

    /* Bytes of content received from sources since the start; counted by part_fills. */
    _Atomic int64_t fetched_bytes;

    /* The node's own. */
    atomic_uint holds;
    struct part_started {
        const struct node_part *part;
        void *self;
    } parts[PARTS_MAX];
    size_t n_parts;
};

/* The state of a part that has started. Asking for any other is a programming error and ends the process. */
void *node_part(const struct node *n, const struct node_part *p);
/* In start: clients are not answered until node_release is called once, from any thread. Until then they wait in the
 * sockets' queues. */
void node_hold(struct node *n);
void node_release(struct node *n);
/* Any thread. A condition for the node to be ready, as in health_set. name: static text. */
void node_condition(struct node *n, const char *name, const char *reason);
/* Control thread, when no loop runs any more. Runs all tasks that work pool and loops still have for each other. */
void node_settle(struct node *n);

/* Parts that both programs have. */
extern const struct node_part part_store;    /* the blobs on disk */
extern const struct node_part part_asker;    /* questions to sources */
extern const struct node_part part_fills;    /* downloads */
extern const struct node_part part_registry; /* /v2/ */

#endif
