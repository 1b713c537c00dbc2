/* An edge's configuration as plain values. Thread: any (immutable once loaded). */
#ifndef ENTREPOT_EDGE_CONFIG_EDGE_CONFIG_H
#define ENTREPOT_EDGE_CONFIG_EDGE_CONFIG_H

#include "common/config/config.h"
#include "common/dns/dns_config.h"

/* What is fetched while central cannot be reached. */
enum fallback_rule { FALLBACK_OFF, FALLBACK_UPSTREAM };

struct edge_config {
    struct node_config node;   /* first */
    unsigned central_requests; /* how many requests to central may run at a time */
    int64_t replica_limit;     /* bytes; 0: no limit */
    unsigned pull_names;       /* tags whose pulls are kept apart on the disk */
    char *central;             /* URL of central's fleet port, no '/' at the end */
    char *central_proxy;       /* a proxy's URL, or HTTP_PROXY_OFF; NULL: by the environment */
    enum fallback_rule fallback;
    char *site;            /* NULL: not said */
    struct dns_config dns; /* listen (NULL: no DNS), threads, rate_per_s and connections; the rest is central's */
};

extern const struct config_schema edge_config_schema;
#define EDGE_CENTRAL_DEFAULT "http://127.0.0.1:5001"
#define EDGE_CONFIG_FILE "/etc/entrepot/edge.yaml"

/* Loads src, whose default_file is set here, into a new struct edge_config. *out points to its first member. */
int edge_config_load(const struct config_source *src, struct node_config **out, struct error *err) must_check;
void edge_config_free(struct node_config *node);

#endif
