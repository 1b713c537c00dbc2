/* The part of the configuration that both nodes have, as plain values. Thread: any (immutable once loaded). */
#ifndef ENTREPOT_CONFIG_NODE_CONFIG_H
#define ENTREPOT_CONFIG_NODE_CONFIG_H

#include "common/core/base.h"
#include "common/core/budget.h"
#include "common/core/log.h"

/* Where the certificate of the registry port comes from: cert_file and key_file (without them there is no TLS), or the
 * fleet's authority. */
enum registry_tls { REGISTRY_TLS_FILES, REGISTRY_TLS_FLEET };
enum node_kind { NODE_CENTRAL, NODE_EDGE };

/* Embedded first in struct central_config and struct edge_config. Strings are owned by it. */
struct node_config {
    enum node_kind kind;
    const char *program;   /* "entrepot-central" / "entrepot-edge" */
    char *config_file;     /* the file read, NULL if none was there */
    size_t n_sets;         /* --set arguments */
    char *data;            /* data folder, absolute */
    char *registry_listen; /* ":5000" / ":5050" */
    enum registry_tls registry_tls;
    char *registry_cert_file, *registry_key_file; /* both or none: TLS on the registry port */
    char **registry_names;                        /* the names clients know this service by */
    size_t n_registry_names;
    char **trusted_proxies; /* networks whose X-Forwarded-For and Forwarded count */
    size_t n_trusted_proxies;
    char *node_listen;  /* fleet.listen; NULL on an edge, where peers.listen has no effect yet */
    char *admin_listen; /* 127.0.0.1:5002 / :5052 */
    char **admin_names; /* further Host names that the admin and fleet ports accept */
    size_t n_admin_names;
    int64_t store_limit, store_min_free;
    unsigned store_tags;
    int64_t budgets[BUDGET_COUNT];
    char *address; /* host by which clients reach it; NULL: determined from the network */
    enum log_level log_level;
    enum log_format log_format;
    bool access_log;
    unsigned serving_loops; /* 0: one a core */
    int64_t drain_ms;       /* time for running requests after SIGTERM */
    int64_t stale_for_ms;   /* how long a tag is served after its source last answered */
    unsigned conns_per_addr, conns;
    unsigned waiting_per_addr, waiting; /* waiting requests at a limit, of one client and of all */
    int64_t head_ms, idle_ms, send_stall_ms;
    int64_t body_rate_bytes_per_s;
    int64_t head_bytes;
    char **no_effect; /* keys that were set but have no effect yet */
    size_t n_no_effect;
    struct node_config_file {
        char *where; /* "FILE:LINE:COLUMN: key" */
        char *path;
    } * files; /* files that the configuration names */
    size_t n_files;
    const char *note; /* a valid setting that the operator should know about; NULL: none */
};

/* Whether the registry port speaks TLS. */
static inline bool node_config_tls(const struct node_config *n) {
    return n->registry_tls == REGISTRY_TLS_FLEET || n->registry_cert_file;
}

#endif
