/* Starts the DNS, brings it what central says, and shows it to operators. Thread: as node_part.h says of each function. */
#include "edge/dns/dns_part.h"

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/dns/dns_metrics.h"
#include "edge/config/edge_config.h"
#include "edge/dns/zone_facts.h"
#include "edge/dns/zone_sync.h"
#include "edge/link/link_part.h"
#include "edge/replica/replica_part.h"

#include <stdio.h>

struct edge_dns {
    struct node *node;
    struct answering *answering; /* NULL: dns.listen is not set */
    struct zone_sync *sync;
};

static int64_t heard_ms(void *arg) {
    struct follow_stats s;
    follow_stats(arg, &s);
    return s.heard_ms;
}

static void on_told(const struct watch_dns *told, void *arg) {
    zone_sync_told(arg, told);
}

static int start(struct node *n, void **self, struct error *err) {
    const struct edge_config *c = (const struct edge_config *)(const void *)n->config;
    struct edge_dns *e = xcalloc(1, sizeof(*e));
    char path[4096];
    e->node = n;
    *self = e;
    if (!c->dns.listen) return 0;
    const struct identity *id = uplink_identity(uplink_of(n));
    snprintf(path, sizeof(path), "%s/dns.state", n->config->data);
    const struct answering_setup setup = {.config = &c->dns,
                                          .path = path,
                                          .site = id ? id->who.site : "",
                                          .stale_for_ms = n->config->stale_for_ms,
                                          .pool = n->pool,
                                          .heard_ms = heard_ms,
                                          .arg = follow_of(n)};
    int r = answering_new(&e->answering, &setup, err);
    if (r < 0) {
        free(e);
        *self = NULL;
        return r;
    }
    e->sync = zone_sync_new(uplink_of(n), n->fetch, n->client, e->answering);
    replica_on_dns(n, on_told, e->sync);
    if (!id)
        log_warn("dns_not_joined", KV_S("why", "this edge has not joined a fleet, so central tells it no zone"),
                 KV_S("hint", "`entrepot-edge join TOKEN`"));
    return 0;
}

static void running(void *self) {
    const struct edge_dns *e = self;
    if (!e->answering) return;
    answering_start(e->answering);
    log_info("dns_ready", KV_I("port", answering_port(e->answering)));
}

static void stop(void *self) {
    struct edge_dns *e = self;
    if (e->answering) {
        replica_on_dns(e->node, NULL, NULL);
        zone_sync_free(e->sync);
        answering_free(e->answering);
    }
    free(e);
}

static void status(json_t *into, void *self) {
    const struct edge_dns *e = self;
    if (e->answering) json_object_set_new(into, "dns", answering_json(e->answering));
}

/* The zone by which doctor judges what resolvers say, also where this edge does not answer for it. */
static void doctor(json_t *into, void *self) {
    const struct edge_dns *e = self;
    struct member who;
    status(into, self);
    if (!link_member(e->node, &who)) return;
    json_t *facts = e->answering ? answering_facts(e->answering, who.site, who.name) : NULL;
    if (!facts) facts = zone_facts_of_central(e->node, who.site, who.name);
    if (!facts) return;
    json_object_set_new(facts, "address_is_set", json_boolean(e->node->config->address != NULL));
    json_object_set_new(into, "zone", facts);
}

static void metrics(struct metric_page *page, void *self) {
    const struct edge_dns *e = self;
    if (!e->answering) return;
    json_t *doc = answering_json(e->answering);
    dns_metrics(page, doc);
    json_decref(doc);
}

const struct node_part part_edge_dns = {.name = "dns",
                                        .start = start,
                                        .running = running,
                                        .stop = stop,
                                        .status = status,
                                        .doctor = doctor,
                                        .metrics = metrics};
