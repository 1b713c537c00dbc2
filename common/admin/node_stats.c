/* Reads the node's own numbers into JSON and into a page of metrics. Thread: work pool. */
#include "common/admin/node_stats.h"

#include "common/core/clock.h"
#include "common/core/version.h"
#include "common/admin/engine_files.h"

#include <string.h>

static void put(json_t *o, const char *key, int64_t v) {
    json_object_set_new(o, key, json_integer(v));
}

static void put_s(json_t *o, const char *key, const char *v) {
    json_object_set_new(o, key, v ? json_string(v) : json_null());
}

static json_t *addresses_json(const struct node_facts *p) {
    const struct node_config *n = p->node;
    json_t *o = json_object();
    put_s(o, "registry", n->registry_listen);
    if (p->registry_server) put(o, "registry_port", http_server_port(p->registry_server));
    put_s(o, "node", n->node_listen);
    put_s(o, "admin", n->admin_listen);
    json_object_set_new(o, "tls", json_boolean(node_config_tls(n)));
    return o;
}

static json_t *connections_json(const struct http_server *server) {
    struct http_stats s;
    http_server_stats(server, &s);
    json_t *o = json_object();
    put(o, "open", s.connections);
    put(o, "accepted", s.accepted);
    put(o, "refused", s.refused);
    put(o, "requests", s.requests);
    put(o, "bad_requests", s.bad_requests);
    return o;
}

static json_t *memory_json(void) {
    json_t *o = json_object();
    for (enum budget b = 0; b < BUDGET_COUNT; b++) {
        struct budget_state s;
        budget_read(b, &s);
        json_t *one = json_object();
        put(one, "used", s.used);
        put(one, "peak", s.peak);
        put(one, "limit", s.limit);
        put(one, "refused", s.refused);
        json_object_set_new(o, s.name, one);
    }
    return o;
}

json_t *node_status(const struct node_facts *p) {
    json_t *o = json_object();
    put_s(o, "program", p->node->program);
    put_s(o, "node", p->node->kind == NODE_CENTRAL ? "central" : "edge");
    put_s(o, "version", entrepot_version);
    put(o, "pid", getpid());
    put(o, "started_at", p->started_at);
    int64_t up = clock_wall_s() - p->started_at;
    put(o, "uptime_s", up > 0 ? up : 0);
    if (p->health) {
        json_t *h = health_json(p->health);
        json_object_update(o, h);
        json_decref(h);
    }
    put_s(o, "data", p->node->data);
    put_s(o, "config_file", p->node->config_file);
    json_object_set_new(o, "addresses", addresses_json(p));
    struct client_facts facts;
    client_facts_find(&facts, p->node);
    put_s(o, "client_address", facts.host);
    json_object_set_new(o, "client_loopback", json_boolean(facts.loopback));
    json_object_set_new(o, "memory", memory_json());
    if (p->registry_server) json_object_set_new(o, "connections", connections_json(p->registry_server));
    return o;
}

static void collect_server(struct metric_page *page, const struct http_server *server) {
    struct http_stats s;
    http_server_stats(server, &s);
    metric_set(page, METRIC_CONNECTIONS, (double)s.connections);
    metric_set(page, METRIC_CONNECTIONS_ACCEPTED, (double)s.accepted);
    metric_set(page, METRIC_CONNECTIONS_REFUSED, (double)s.refused);
    metric_set(page, METRIC_BAD_REQUESTS, (double)s.bad_requests);
}

static void collect_memory(struct metric_page *page) {
    for (enum budget b = 0; b < BUDGET_COUNT; b++) {
        struct budget_state s;
        budget_read(b, &s);
        metric_label_set(page, FAMILY_BUDGET_USED, s.name, NULL, (double)s.used);
        metric_label_set(page, FAMILY_BUDGET_PEAK, s.name, NULL, (double)s.peak);
        metric_label_set(page, FAMILY_BUDGET_LIMIT, s.name, NULL, (double)s.limit);
        metric_label_set(page, FAMILY_BUDGET_REFUSED, s.name, NULL, (double)s.refused);
    }
}

void node_collect(struct metric_page *page, void *arg) {
    const struct node_facts *p = arg;
    metric_label_set(page, FAMILY_BUILD_INFO, entrepot_version, p->node->kind == NODE_CENTRAL ? "central" : "edge", 1);
    collect_memory(page);
    if (p->health) metric_set(page, METRIC_READY, health_ready(p->health) ? 1 : 0);
    if (p->registry_server) collect_server(page, p->registry_server);
    for (size_t i = 0; i < p->n_loops; i++) {
        double s = (double)loop_longest_stall_us(p->loops[i], true) / 1e6;
        metric_label_set(page, FAMILY_LONGEST_STALL, p->loop_names[i], NULL, s);
    }
}
