/* The node's own numbers for /api/status and /metrics; those of its parts are added by the parts. Thread: work pool
 * (reads are atomic or short; /proc is read for metrics). */
#ifndef ENTREPOT_ADMIN_NODE_STATS_H
#define ENTREPOT_ADMIN_NODE_STATS_H

#include <jansson.h>

#include "common/http/server.h"
#include "common/admin/health.h"
#include "common/metrics/metrics.h"
#include "common/config/node_config.h"

/* All borrowed; any but node may be NULL. */
struct node_facts {
    const struct node_config *node;
    struct health *health;
    struct http_server *registry_server;
    struct loop *const *loops; /* whose stalls are shown, with their names */
    const char *const *loop_names;
    size_t n_loops;
    int64_t started_at; /* wall seconds */
};

/* {"program","node","version","pid","started_at","uptime_s","ready","reasons","data","config_file","addresses":{…},
 * "client_address","client_loopback","memory":{…},"connections":{…}} */
json_t *node_status(const struct node_facts *p);
/* A metrics collector; arg is a struct node_facts. */
void node_collect(struct metric_page *page, void *arg);

#endif
