/* One node put together: loops, store, fills, registry and servers in the order they depend on each other, started,
 * watched and taken down. What differs between the tiers comes in as struct runtime_tier. Thread: the control loop
 * (main), but for what is marked. */
#ifndef ENTREPOT_NODE_RUNTIME_H
#define ENTREPOT_NODE_RUNTIME_H

#include <jansson.h>

#include "common/fill/fill.h"
#include "common/http/client.h"
#include "common/http/server.h"
#include "common/admin/engine_files.h"
#include "common/cli/command.h"
#include "common/serve/registry.h"
#include "common/store/store.h"

struct runtime {
    const struct node_config *node;
    struct loop *control, **serving, *fetch;
    unsigned n_serving;
    struct workpool *pool;      /* what takes long: syncs, hashing, walks */
    struct workpool *reads;     /* what a client waits for: opening and reading what is not in memory */
    struct http_client *client; /* on the fetch loop */
    struct store *store;
    struct fill_engine *fills;
    struct registry *registry;
    char *addresses[OWN_ADDRESSES_MAX]; /* what clients may call this node */
    size_t n_addresses;
    void *tier;        /* the tier's own */
    bool hide_deleted; /* set by start */
};

/* The tier's share. All are required unless said otherwise; rt is the runtime. */
struct runtime_tier {
    /* Control thread, loops not yet running; the store is open, fills and registry are not yet made. Sets rt->tier.
     * If store_recall_due and images can be loaded, gives the store back what is hosted and calls store_recall_done. */
    int (*start)(struct runtime *rt, struct error *err);
    /* Fetch loop: background work may begin. Nobody is answered before it has called runtime_ready. */
    void (*running)(struct runtime *rt);
    /* Control thread, loops joined, fills and registry freed; the store is still open. */
    void (*stop)(struct runtime *rt);
    /* A request on the node-to-node port that is not under /v2. NULL: there is no such port. */
    void (*node_request)(struct http_req *req, struct runtime *rt);
    /* Work pool: what /api/status shows of this tier, and the facts of /api/doctor (admin/api.h). */
    json_t *(*status)(void *rt);
    json_t *(*doctor)(void *rt);
    /* Work pool: brings an image into a hosted repository. NULL: this tier has none. */
    int (*load)(const char *layout, const char *ref, json_t **result, struct error *err, void *rt);
    /* Store events, index writer. NULL: nobody wants to know. */
    void (*blob_change)(const struct digest *d, bool held, void *rt);
    /* Of struct registry_config and struct fill_engine_config, which say when and where. */
    const struct name_rules *(*rules)(void *rt);
    const char *(*scope)(const struct repo_name *repo, char out[REPO_STR_MAX], void *rt);
    bool (*names_unsettled)(char *why, size_t cap, void *rt);
    int64_t (*fresh_for_ms)(const struct repo_name *repo, void *rt);
    unsigned (*sources)(const struct repo_name *repo, struct source *out[FILL_SOURCES_MAX], void *rt);
    void (*learned_tag)(const struct repo_name *repo, const char *tag, const struct tag_record *rec, void *rt);
    void (*ask_catalogue)(struct fill *f, const struct fill_spec *spec, void *rt);
    void (*learned)(const struct fill_spec *spec, int64_t size, const char *media_type, const uint8_t *proofs,
                    size_t n_proofs, const void *data, size_t len, void *rt);
    int64_t negative_ms;
    const char *not_with; /* a file that only the other tier's data folder has */
};

/* Any thread, once: clients may be answered from now on; until then they wait in the sockets' queues. */
void runtime_ready(struct runtime *rt);

/* The command `serve`: runs until SIGTERM or SIGINT. Returns its exit status; errors are printed. */
int runtime_serve(const struct command_context *ctx, const struct runtime_tier *tier);

#endif
