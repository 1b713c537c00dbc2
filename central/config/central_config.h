/* Central's configuration as plain values. Thread: any (immutable once loaded). */
#ifndef ENTREPOT_CENTRAL_CONFIG_CENTRAL_CONFIG_H
#define ENTREPOT_CENTRAL_CONFIG_CENTRAL_CONFIG_H

#include "common/config/config.h"
#include "common/dns/dns_config.h"
#include "common/upstream/upstream_config.h"

enum deleted_tags { DELETED_SERVE, DELETED_HIDE };
enum redirect_rule { REDIRECT_EDGES, REDIRECT_OFF };

struct central_config {
    struct node_config node; /* first */
    struct upstream_config *upstreams;
    size_t n_upstreams;
    char *default_upstream; /* one of upstreams, or NULL: bare names are unknown */
    char **hosted;
    size_t n_hosted;
    enum deleted_tags deleted;
    int64_t catalog_limit;        /* bytes of catalog.db */
    unsigned catalog_log_entries; /* that its change log keeps */
    int64_t watch_queue;          /* bytes that may wait for one edge */
    unsigned registry_port;
    enum redirect_rule redirect;
    struct site_config *sites;
    size_t n_sites;
    struct dns_config dns;
    char **fleet_addresses; /* HOST:PORT by which edges reach the fleet port; none: found out */
    size_t n_fleet_addresses;
    char *ca_key_file;        /* the key of the fleet's root; NULL: in the data folder */
    int64_t certificate_ms;   /* how long an edge's certificate lasts */
    int64_t heartbeat_ms;     /* how often an edge reports */
    unsigned pull_names;      /* tags whose pulls are counted apart */
    unsigned holdings_blobs;  /* different blobs that edges are known to hold */
    int64_t rejoin_window_ms; /* so long after its end it can still be renewed */
};

/* The index of an upstream by its name, or -1. */
long central_upstream_index(const struct central_config *cfg, const char *name);
/* True if an upstream's content is served only in the repositories that refer to it. That is so for upstreams with
 * credentials, whose repositories may be private. */
bool upstream_is_per_repository(const struct upstream_config *u);

extern const struct config_schema central_config_schema, site_schema, dns_schema;
/* Rules about several keys of sites and dns. */
int dns_config_check(struct config_load *load, const struct central_config *c, struct error *err) must_check;
#define CENTRAL_CONFIG_FILE "/etc/entrepot/central.yaml"

/* Loads src, whose default_file is set here, into a new struct central_config. *out points to its first member. */
int central_config_load(const struct config_source *src, struct node_config **out, struct error *err) must_check;
void central_config_free(struct node_config *node);
/* A copy that is freed likewise. */
struct central_config *central_config_copy(const struct central_config *c);

#endif
