/* Reads the parts' numbers into JSON and into a page of metrics. Thread: work pool. */
#include "common/admin/node_stats.h"

#include "common/core/clock.h"
#include "common/core/version.h"
#include "common/admin/engine_files.h"
#include "common/admin/store_alone.h"
#include "common/store/report.h"

#include <string.h>

static void put(json_t *o, const char *key, int64_t v) {
    json_object_set_new(o, key, json_integer(v));
}

static void put_s(json_t *o, const char *key, const char *v) {
    json_object_set_new(o, key, v ? json_string(v) : json_null());
}

static json_t *addresses_json(const struct node_parts *p) {
    const struct node_config *n = p->node;
    json_t *o = json_object();
    put_s(o, "registry", n->registry_listen);
    if (p->registry_server) put(o, "registry_port", http_server_port(p->registry_server));
    put_s(o, "node", n->node_listen);
    put_s(o, "admin", n->admin_listen);
    json_object_set_new(o, "tls", json_boolean(n->registry_cert_file != NULL));
    return o;
}

static json_t *pulls_json(const struct registry *g) {
    struct registry_stats s;
    registry_stats(g, &s);
    json_t *o = json_object();
    put(o, "hits", s.hits);
    put(o, "misses", s.misses);
    int64_t all = s.hits + s.misses;
    json_object_set_new(o, "hit_ratio", all ? json_real((double)s.hits / (double)all) : json_null());
    put(o, "joined", s.joined);
    put(o, "hit_bytes", s.hit_bytes);
    put(o, "fill_bytes", s.fill_bytes);
    put(o, "stale", s.stale);
    put(o, "negative", s.negative);
    return o;
}

static json_t *fills_json(const struct fill_engine *e) {
    struct fill_stats s;
    fill_engine_stats(e, &s);
    json_t *o = json_object();
    put(o, "running", s.running);
    put(o, "started", s.started);
    put(o, "joined", s.joined);
    put(o, "completed", s.completed);
    put(o, "failed", s.failed);
    put(o, "mismatches", s.mismatches);
    put(o, "resumed_bytes", s.resumed_bytes);
    put(o, "passed_through", s.passed_through);
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

static json_t *store_json(struct store *s) {
    store_quarantine_look(s);
    json_t *o = store_usage_json(s);
    struct error err = {0};
    if (!store_trouble(s, &err)) return o;
    json_t *t = json_object();
    put_s(t, "message", err.msg);
    put_s(t, "what_to_do", err.hint);
    json_object_set_new(o, "trouble", t);
    return o;
}

json_t *prune_json(const struct prune_report *r, const struct store *s) {
    json_t *o = json_object();
    put(o, "freed", r->freed);
    put(o, "not_removed", r->not_removed);
    if (r->not_removed) put_s(o, "why_not_removed", r->why);
    json_object_set_new(o, "store", store_usage_json(s));
    return o;
}

json_t *node_status(const struct node_parts *p) {
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
    if (p->store) json_object_set_new(o, "store", store_json(p->store));
    if (p->registry) json_object_set_new(o, "pulls", pulls_json(p->registry));
    if (p->fills) json_object_set_new(o, "fills", fills_json(p->fills));
    json_object_set_new(o, "memory", memory_json());
    if (p->registry_server) json_object_set_new(o, "connections", connections_json(p->registry_server));
    return o;
}

static void collect_store(struct metric_page *page, const struct store *s) {
    struct store_usage u;
    store_usage(s, &u);
    metric_set(page, METRIC_HELD_BLOBS, (double)u.blobs);
    metric_set(page, METRIC_HELD_BYTES, (double)u.bytes);
    metric_set(page, METRIC_STORE_ON_DISK, (double)u.used_on_disk);
    metric_set(page, METRIC_TAGS, (double)u.tags);
    metric_set(page, METRIC_PART_BYTES, (double)u.part_bytes);
    metric_set(page, METRIC_STORE_LIMIT, (double)u.limit);
    metric_set(page, METRIC_DISK_FREE, (double)u.disk_free);
    metric_set(page, METRIC_EVICTIONS, (double)u.evictions);
    metric_set(page, METRIC_EVICTED_BYTES, (double)u.evicted_bytes);
}

static void collect_fills(struct metric_page *page, const struct fill_engine *e) {
    struct fill_stats s;
    fill_engine_stats(e, &s);
    metric_set(page, METRIC_FILLS_RUNNING, (double)s.running);
    metric_set(page, METRIC_FILLS_STARTED, (double)s.started);
    metric_set(page, METRIC_FILLS_COMPLETED, (double)s.completed);
    metric_set(page, METRIC_FILLS_FAILED, (double)s.failed);
    metric_set(page, METRIC_FILLS_PASSED_THROUGH, (double)s.passed_through);
    metric_set(page, METRIC_DIGEST_MISMATCHES, (double)s.mismatches);
    metric_set(page, METRIC_RESUMED_BYTES, (double)s.resumed_bytes);
}

static void collect_registry(struct metric_page *page, const struct registry *g) {
    struct registry_stats s;
    registry_stats(g, &s);
    metric_set(page, METRIC_HITS, (double)s.hits);
    metric_set(page, METRIC_MISSES, (double)s.misses);
    metric_set(page, METRIC_COALESCED_READERS, (double)s.joined);
    metric_set(page, METRIC_STALE_TAGS, (double)s.stale);
    metric_set(page, METRIC_NEGATIVE_ANSWERS, (double)s.negative);
    metric_label_set(page, FAMILY_CLIENT_BYTES, "disk", NULL, (double)s.hit_bytes);
    metric_label_set(page, FAMILY_CLIENT_BYTES, "fill", NULL, (double)s.fill_bytes);
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
    const struct node_parts *p = arg;
    metric_label_set(page, FAMILY_BUILD_INFO, entrepot_version, p->node->kind == NODE_CENTRAL ? "central" : "edge", 1);
    collect_memory(page);
    if (p->health) metric_set(page, METRIC_READY, health_ready(p->health) ? 1 : 0);
    if (p->store) collect_store(page, p->store);
    if (p->fills) collect_fills(page, p->fills);
    if (p->registry) collect_registry(page, p->registry);
    if (p->registry_server) collect_server(page, p->registry_server);
    for (size_t i = 0; i < p->n_loops; i++) {
        double s = (double)loop_longest_stall_us(p->loops[i], true) / 1e6;
        metric_label_set(page, FAMILY_LONGEST_STALL, p->loop_names[i], NULL, s);
    }
}

json_t *verify_json(const struct verify_report *r, int64_t total_bytes) {
    json_t *named = json_array();
    for (int64_t i = 0; i < r->bad && i < VERIFY_NAMED_MAX; i++) {
        char digest[DIGEST_STR_MAX];
        json_array_append_new(named, json_string(digest_str(&r->named[i], digest)));
    }
    json_t *o = json_object();
    put(o, "checked", r->checked);
    put(o, "bytes", r->bytes);
    put(o, "bad", r->bad);
    put(o, "missing", r->missing);
    put(o, "adopted", r->adopted);
    put(o, "moved", r->moved);
    put(o, "not_moved", r->not_moved);
    put(o, "unreadable", r->unreadable);
    put(o, "total_bytes", total_bytes);
    if (r->not_moved) put_s(o, "why_not_moved", r->why_not_moved);
    if (r->unreadable) put_s(o, "why_unreadable", r->why_unreadable);
    json_object_set_new(o, "bad_blobs", named);
    return o;
}
