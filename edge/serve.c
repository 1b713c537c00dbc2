/* `entrepot-edge serve`: an edge's node. Names come from central's settings, misses go to central, and the catalogue is
 * asked about every fill. Thread: as runtime.h says of each callback. */
#include "edge/edge.h"

#include "common/node/probe.h"
#include "common/node/runtime.h"
#include "common/metrics/metrics.h"
#include "common/wire/upstreams.h"
#include "edge/config/edge_config.h"
#include "edge/pull/lookups.h"

#include <stdio.h>
#include <string.h>

/* A "no" is asked again soon: together with central's own memory a new tag must be seen within 10 s. */
#define NEGATIVE_MS 2000
#define PROBE_MS 5000

struct edge {
    const struct edge_config *cfg;
    struct store *store;
    struct settings *settings;
    struct central_source *central;
    struct lookups *lookups;
};

static struct edge *edge_of(void *rt) {
    return ((struct runtime *)rt)->tier;
}

static const struct name_rules *rules(void *rt) {
    return settings_rules(edge_of(rt)->settings);
}

/* A "no" is central's to say. */
static bool names_unsettled(char *why, size_t cap, void *rt) {
    return central_source_untold(edge_of(rt)->central, why, cap);
}

static const char *scope(const struct repo_name *repo, char out[REPO_STR_MAX], void *rt) {
    struct edge *e = edge_of(rt);
    int64_t fresh;
    bool per_repository = true;
    bool known = repo->upstream[0] && settings_upstream(e->settings, repo->upstream, &fresh, &per_repository);
    return known && !per_repository ? repo->upstream : repo_name_str(repo, out);
}

/* What central hosts may move at any time, and central answers from memory. */
static int64_t fresh_for_ms(const struct repo_name *repo, void *rt) {
    int64_t fresh = 0;
    bool per_repository;
    if (repo->upstream[0] && settings_upstream(edge_of(rt)->settings, repo->upstream, &fresh, &per_repository))
        return fresh;
    return 0;
}

static unsigned sources(const struct repo_name *repo, struct source *out[FILL_SOURCES_MAX], void *rt) {
    (void)repo;
    out[0] = central_source(edge_of(rt)->central);
    return 1;
}

static void ask_catalogue(struct fill *f, const struct fill_spec *spec, void *rt) {
    lookups_ask(edge_of(rt)->lookups, f, spec);
}

static json_t *central_json(struct edge *e) {
    struct central_state s;
    central_source_state(e->central, &s);
    return json_pack("{s:s, s:b, s:I, s:I, s:s}", "url", e->cfg->central, "reachable", s.reachable, "since",
                     (json_int_t)s.since_s, "failures", (json_int_t)s.failures, "message", s.last_error);
}

static json_t *upstreams_json(struct edge *e) {
    const struct name_rules *r = settings_rules(e->settings);
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_upstreams; i++)
        json_array_append_new(list, json_pack("{s:s}", "name", r->upstreams[i]));
    return list;
}

static json_t *status(void *rt) {
    struct edge *e = edge_of(rt);
    const char *bare = settings_rules(e->settings)->default_upstream;
    return json_pack("{s:o, s:o, s:s?}", "central", central_json(e), "upstreams", upstreams_json(e), "default_upstream",
                     bare);
}

/* How central stands with its upstreams, from its own words; NULL if it said none. */
static json_t *upstream_states_json(const struct buf *said) {
    struct wire_upstream_state *states;
    size_t n;
    if (wire_upstreams_decode(said->data, said->len, &states, &n) < 0) return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct wire_upstream_state *s = &states[i];
        json_t *j = json_pack("{s:s, s:b, s:s, s:I}", "name", s->name, "ok", s->reachable, "message", s->last_error,
                              "requests", (json_int_t)s->requests);
        if (s->rate_limit >= 0) {
            json_object_set_new(j, "rate_limit", json_integer(s->rate_limit));
            json_object_set_new(j, "rate_remaining", json_integer(s->rate_remaining));
        }
        json_array_append_new(list, j);
    }
    free(states);
    return list;
}

/* The same, with central asked anew, and what it knows of its upstreams. */
static json_t *doctor(void *rt) {
    struct edge *e = edge_of(rt);
    bool loopback = central_is_loopback(e->cfg->central);
    struct buf said;
    buf_init(&said, WIRE_MAX_UPSTREAMS);
    struct loop *l = ((struct runtime *)rt)->fetch;
    struct probe p = {.url = e->cfg->central, .insecure_tls = loopback, .path = WIRE_UPSTREAMS_PATH, .body = &said};
    probe_all(l, ((struct runtime *)rt)->client, &p, 1, PROBE_MS);
    char why[160];
    bool good = p.status > 0 && central_is_fleet_port(p.status, p.content_type, why);
    /* Whoever reads that central answers must not be told next that it cannot be reached. */
    if (good) loop_call(l, central_source_found, e->central);
    json_t *j = json_pack("{s:s, s:b, s:s}", "url", e->cfg->central, "reachable", good, "message",
                          good           ? ""
                          : p.status > 0 ? why
                                         : p.message);
    if (p.has_skew) json_object_set_new(j, "clock_skew_s", json_integer(p.skew_s));
    json_t *all = json_pack("{s:o}", "central", j), *list = good ? upstream_states_json(&said) : NULL;
    if (list) json_object_set_new(all, "upstreams", list);
    buf_fini(&said);
    return all;
}

static void collect(struct metric_page *page, void *arg) {
    struct edge *e = arg;
    struct central_state s;
    central_source_state(e->central, &s);
    metric_set(page, METRIC_CENTRAL_REACHABLE, s.reachable);
    metric_label_set(page, FAMILY_BREAKER_OPEN, "central", NULL, s.reachable ? 0 : 1);
}

static bool knows_tag(const struct repo_name *repo, const char *tag, void *arg) {
    struct edge *e = arg;
    char name[REPO_STR_MAX];
    struct tag_record rec;
    return store_tag_get(e->store, repo_name_str(repo, name), tag, &rec) && !rec.deleted;
}

/* Fetch loop: what failed may be asked again at once. */
static void central_is_back(void *rt) {
    registry_forget_failures(((struct runtime *)rt)->registry);
}

static int start(struct runtime *rt, struct error *err) {
    (void)err;
    struct edge *e = calloc(1, sizeof(*e));
    if (!e) abort();
    const struct node_config *node = rt->node;
    e->cfg = (const struct edge_config *)(const void *)node;
    e->store = rt->store;
    const struct own_names own = {node->registry_names, rt->addresses, node->n_registry_names, rt->n_addresses};
    e->settings = settings_new(node->data, &own);
    e->central = central_source_new(e->cfg->central, e->settings, rt->fetch, rt->client);
    central_source_fallback(e->central, knows_tag, e);
    central_source_on_found(e->central, central_is_back, rt);
    e->lookups = lookups_new(rt->fetch, e->central, e->settings);
    /* Whether a deleted tag is still shown is central's to decide: its "no" is final. */
    rt->hide_deleted = true;
    rt->tier = e;
    metrics_collect(collect, e);
    return 0;
}

static void on_ready(void *rt) {
    runtime_ready(rt);
}

static void running(struct runtime *rt) {
    lookups_begin(edge_of(rt)->lookups, on_ready, rt);
}

static void stop(struct runtime *rt) {
    struct edge *e = rt->tier;
    metrics_uncollect(collect, e);
    lookups_free(e->lookups);
    central_source_free(e->central);
    settings_free(e->settings);
    free(e);
}

static const struct runtime_tier tier = {
    .start = start,
    .running = running,
    .stop = stop,
    .status = status,
    .doctor = doctor,
    .rules = rules,
    .names_unsettled = names_unsettled,
    .scope = scope,
    .fresh_for_ms = fresh_for_ms,
    .sources = sources,
    .ask_catalogue = ask_catalogue,
    .negative_ms = NEGATIVE_MS,
    .not_with = "catalog.db",
};

int edge_serve(const struct command_context *ctx) {
    return runtime_serve(ctx, &tier);
}
