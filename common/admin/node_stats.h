/* The numbers of a running node for /api/status and /metrics, read from its parts in one place. Thread: work pool
 * (reads are atomic or short; /proc is read for metrics). */
#ifndef ENTREPOT_ADMIN_NODE_STATS_H
#define ENTREPOT_ADMIN_NODE_STATS_H

#include <jansson.h>

#include "common/fill/fill.h"
#include "common/http/server.h"
#include "common/admin/health.h"
#include "common/metrics/metrics.h"
#include "common/config/node_config.h"
#include "common/serve/registry.h"
#include "common/store/report.h"
#include "common/store/store.h"

/* All borrowed; any but node may be NULL. */
struct node_parts {
    const struct node_config *node;
    struct health *health;
    struct store *store;
    struct fill_engine *fills;
    struct registry *registry;
    struct http_server *registry_server;
    struct loop *const *loops; /* whose stalls are shown, with their names */
    const char *const *loop_names;
    size_t n_loops;
    int64_t started_at; /* wall seconds */
};

/* {"program","node","version","pid","started_at","uptime_s","ready","reasons","data","config_file","addresses":{…},
 * "client_address","store":{…},"pulls":{…},"fills":{…},"connections":{…}} */
json_t *node_status(const struct node_parts *p);
/* A verify's report: its counts, and by name the first of the bad blobs. */
json_t *prune_json(const struct prune_report *r, const struct store *s);
json_t *verify_json(const struct verify_report *r, int64_t total_bytes);
/* A metrics collector; arg is a struct node_parts. */
void node_collect(struct metric_page *page, void *arg);

#endif
