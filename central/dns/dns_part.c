/* Starts the DNS, and shows it to operators. Thread: as node_part.h says of each function. */
#include "central/dns/dns_part.h"

#include "central/dns/dns.h"
#include "common/dns/explain.h"
#include "common/dns/dns_metrics.h"
#include "common/dns/dns_server.h"
#include "common/dns/zone_message.h"
#include "central/dns/told.h"
#include "central/fleet/door.h"
#include "central/fleet/fleet_part.h"
#include "central/fleet/members_part.h"
#include "central/fleet/roster.h"
#include "central/names/names_part.h"
#include "central/reports/reports_part.h"
#include "central/reports/rows.h"
#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/engine_files.h"
#include "common/admin/job.h"
#include "common/core/alloc.h"
#include "common/core/host_port.h"
#include "common/core/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct dns_part {
    struct node *node;
    struct roster *roster;
    struct dns *dns; /* NULL: no zone is configured */
    struct dns_told *told;
    struct director director;
};

static bool elsewhere(const struct ip *client, const char *host, char out[DIRECTED_MAX], void *arg) {
    struct dns_part *p = arg;
    return dns_elsewhere(p->dns, client, host, out, DIRECTED_MAX);
}

/* --- explain --- */

static void run_explain(struct job *j) {
    struct dns_part *p = j->arg;
    struct dns_client client = {.from_subnet = j->number != 0};
    if (!ip_parse(&client.ip, j->a, strlen(j->a))) {
        job_error(j, &(struct error){.code = ERR_INVALID, .msg = "that is neither an IPv4 nor an IPv6 address"});
        return;
    }
    bool four = ip_is_v4(&client.ip);
    client.bits = four ? 32 : 128;
    if (client.from_subnet) { /* as resolvers tell it (RFC 7871 section 11.1) */
        client.bits = four ? DNS_SUBNET4 : DNS_SUBNET6;
        memset(client.ip.bytes + (four ? 15 : 7), 0, four ? 1 : 9);
    }
    const struct dns_view *v = dns_view_now(p->dns);
    json_t *doc = dns_explain(v, &client);
    dns_view_done(p->dns);
    job_json(j, 200, doc);
}

static void get_explain(struct http_req *req, void *arg) {
    struct dns_part *p = arg;
    char client[QUERY_PARAM_MAX], resolver[QUERY_PARAM_MAX];
    const char *target = http_req_target(req);
    if (!p->dns) {
        api_reply_error(req, 404, "this central has no DNS", "set dns.zone, and restart it");
        return;
    }
    bool by_resolver = query_param(target, "resolver", resolver) == 1;
    if (!by_resolver && query_param(target, "client", client) != 1) {
        api_reply_error(req, 400, "client or resolver (an address) is needed", "");
        return;
    }
    job_start(&(struct job_order){.pool = p->node->pool,
                                  .run = run_explain,
                                  .arg = p,
                                  .a = by_resolver ? resolver : client,
                                  .number = !by_resolver},
              req);
}

/* GET /api/dns/explain?client=ADDRESS or ?resolver=ADDRESS (one that tells no client subnet): dns_explain. */
/* GET /fleet/v1/dns. It has the secret of the cookies, so only edges get it. */
static void get_zone(struct http_req *req, void *arg) {
    struct dns_part *p = arg;
    struct member who;
    if (!door_edge(req, &who))
        api_reply_error(req, 403, "this call needs the certificate of an edge", "");
    else
        dns_told_answer(p->told, req);
}

static const struct route routes[] = {
    {DNS_ZONE_PATH, METHOD_SET(HTTP_GET), PORT_NODE, get_zone},
    {"/api/dns/explain", METHOD_SET(HTTP_GET), PORT_ADMIN | PORT_CONTROL, get_explain},
    {0}};

/* --- life --- */

/* Central's address as clients are told it, if that is an address. */
static void own_address(const struct node_config *c, struct ip out[DNS_FAMILIES]) {
    struct client_facts facts;
    struct host_port hp;
    struct ip ip;
    memset(out, 0, DNS_FAMILIES * sizeof(*out));
    client_facts_find(&facts, c);
    const char *host = c->address ? c->address : host_port_parse(&hp, facts.host) ? hp.host : "";
    if (ip_parse(&ip, host, strlen(host))) out[ip_is_v4(&ip) ? 0 : 1] = ip;
}

/* A client that sends the name as `ns` would mean an unknown upstream by it. */
static void warn_of_name(const struct central_config *c) {
    char name[DNS_NAME_TEXT_MAX + 16];
    snprintf(name, sizeof(name), "registry.%.200s", c->dns.zone);
    for (size_t i = 0; i < c->node.n_registry_names; i++) {
        struct host_port hp;
        if (host_port_parse(&hp, c->node.registry_names[i]) && strcasecmp(hp.host, name) == 0) return;
    }
    log_warn("dns_name_not_own", KV_S("name", name),
             KV_S("note", "add it to registry.names, so that clients that send it as ns mean this registry by it"));
}

/* --- the fleet's edges, and what they say --- */

static enum dns_member member(const char *site, const char *edge, void *arg) {
    static const enum dns_member by_state[] = {
        [EDGE_ACTIVE] = DNS_MEMBER_GOOD, [EDGE_QUARANTINED] = DNS_MEMBER_BARRED, [EDGE_REMOVED] = DNS_MEMBER_REMOVED};
    struct edge_facts f;
    if (!roster_get(((const struct dns_part *)arg)->roster, edge, &f) || strcmp(f.site, site) != 0)
        return DNS_MEMBER_NONE;
    return by_state[f.state];
}

static uint64_t fleet_version(void *arg) {
    return roster_changes(((const struct dns_part *)arg)->roster);
}

static void published(void *arg) {
    fleet_tell_dns(arg);
}

static uint64_t told_version(void *arg) {
    return dns_told_version(arg);
}

static uint64_t told_add(struct buf *out, void *arg) {
    return dns_told_add(arg, out);
}

/* Serving loop. Its first address of each family counts. */
static void on_heard(const struct report_row *row, void *arg) {
    const struct dns_part *p = arg;
    const struct wire_heartbeat *b = &row->beat;
    struct dns_word w = {.site = row->site,
                         .name = row->name,
                         .port = b->registry_port,
                         .load = b->load,
                         .uplink_full = b->uplink_full,
                         .heard_ms = row->heard_ms};
    for (size_t i = b->n_addresses; i-- > 0;)
        w.ip[ip_is_v4(&b->addresses[i]) ? 0 : 1] = b->addresses[i];
    dns_word(p->dns, &w);
}

static int start(struct node *n, void **self, struct error *err) {
    const struct central_config *c = central_config_of(n);
    struct dns_part *p = xcalloc(1, sizeof(*p));
    p->node = n;
    p->told = dns_told_new();
    *self = p;
    if (!c->dns.zone) return 0;
    char path[4096];
    snprintf(path, sizeof(path), "%s/dns.state", n->config->data);
    p->roster = members_roster(n);
    struct dns_setup setup = {.config = c,
                              .saved_path = path,
                              .pool = n->pool,
                              .fleet = {member, fleet_version, p},
                              .told = p->told,
                              .published = published,
                              .arg = n};
    own_address(n->config, setup.central);
    int r = dns_new(&p->dns, &setup, err);
    if (r == 0) {
        warn_of_name(c);
        p->director = (struct director){elsewhere, p};
        if (c->redirect == REDIRECT_EDGES) n->director = &p->director;
        reports_on_heard(n, on_heard, p);
        fleet_set_dns(n, &(struct watch_aside){told_version, told_add, p->told});
        return 0;
    }
    dns_told_free(p->told);
    free(p);
    *self = NULL;
    return r;
}

static void running(void *self) {
    struct dns_part *p = self;
    if (!p->dns) return;
    dns_start(p->dns);
    log_info("dns_ready", KV_S("listen", dns_listen_text(p->dns)),
             KV_I("port", dns_server_port(dns_server_of(p->dns))));
}

static void stop(void *self) {
    struct dns_part *p = self;
    if (p->dns) {
        reports_on_heard(p->node, NULL, NULL);
        dns_free(p->dns);
    }
    dns_told_free(p->told);
    free(p);
}

static const char *reload(void *self, const struct node_config *fresh) {
    struct dns_part *p = self;
    struct error err = {0};
    const struct central_config *c = (const struct central_config *)(const void *)fresh;
    if (!p->dns) return NULL;
    if (dns_reload(p->dns, c, &err) == 0) return "took sites and the zone's records";
    log_error("dns_zone_not_read", KV_S("why", err.msg));
    return "the DNS keeps its old sites";
}

static json_t *shown(const struct dns_part *p) {
    json_t *doc = dns_status(dns_view_now(p->dns), dns_server_of(p->dns), dns_listen_text(p->dns));
    dns_view_done(p->dns);
    return doc;
}

static void status(json_t *into, void *self) {
    const struct dns_part *p = self;
    if (p->dns) json_object_set_new(into, "dns", shown(p));
}

static void metrics(struct metric_page *page, void *self) {
    struct dns_part *p = self;
    if (!p->dns) return;
    json_t *doc = shown(p);
    dns_metrics(page, doc);
    json_decref(doc);
}

const struct node_part part_dns = {.name = "dns",
                                   .start = start,
                                   .running = running,
                                   .stop = stop,
                                   .reload = reload,
                                   .routes = routes,
                                   .status = status,
                                   .doctor = status,
                                   .metrics = metrics};
