/* `entrepot-central serve`: central's node. Misses go to the upstreams, everything learned goes into the catalogue, and
 * edges ask it on the fleet port. Thread: as runtime.h says of each callback. */
#include "central/central.h"

#include "central/catalog/catalog.h"
#include "central/catalog/relearn.h"
#include "central/config/central_config.h"
#include "central/fleet/lookup.h"
#include "central/upstream/upstream.h"
#include "central/warehouse/load.h"
#include "central/warehouse/recall.h"
#include "common/core/clock.h"
#include "common/node/probe.h"
#include "common/node/runtime.h"
#include "common/oci/regerror.h"
#include "common/metrics/metrics.h"
#include "common/wire/upstreams.h"
#include "common/wire/wire.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Together with an edge's own memory of a "no" a new tag must be seen within 10 s. */
#define NEGATIVE_MS 4000
#define CATALOG_READERS 4
#define PROBE_MS 5000
#define LOOKUP_PATH "/fleet/v1/lookup"

struct central {
    const struct central_config *cfg;
    struct runtime *rt;
    struct name_rules rules;
    struct wire_settings settings;
    struct upstream **upstreams;
    struct catalog *catalog;
    struct lookup *lookup;
    struct work relearn;
    struct recall_report recalled;
    pthread_mutex_t probed_lock; /* guards probed, for a few instructions */
    struct probed {
        bool ok;
        char message[256];
        int64_t times, requests_before;
    } * probed; /* of each upstream, by doctor */
};

static struct central *central_of(void *rt) {
    return ((struct runtime *)rt)->tier;
}

/* The number of an upstream by its name, or -1. */
static long upstream_index(const struct central *c, const char *name) {
    for (size_t i = 0; i < c->cfg->n_upstreams; i++) {
        if (strcmp(c->cfg->upstreams[i].name, name) == 0) return (long)i;
    }
    return -1;
}

/* --- what registry and fills ask --- */

static const struct name_rules *rules(void *rt) {
    return &central_of(rt)->rules;
}

/* Content got with credentials is served only in the repositories that refer to it. */
static bool per_repository(const struct upstream_config *u) {
    return u->username != NULL;
}

static const char *scope(const struct repo_name *repo, char out[REPO_STR_MAX], void *rt) {
    struct central *c = central_of(rt);
    long i = repo->upstream[0] ? upstream_index(c, repo->upstream) : -1;
    return i >= 0 && !per_repository(&c->cfg->upstreams[i]) ? repo->upstream : repo_name_str(repo, out);
}

static int64_t fresh_for_ms(const struct repo_name *repo, void *rt) {
    struct central *c = central_of(rt);
    long i = repo->upstream[0] ? upstream_index(c, repo->upstream) : -1;
    return i < 0 ? INT64_MAX : c->cfg->upstreams[i].fresh_for_ms;
}

static unsigned sources(const struct repo_name *repo, struct source *out[FILL_SOURCES_MAX], void *rt) {
    struct central *c = central_of(rt);
    long i = repo->upstream[0] ? upstream_index(c, repo->upstream) : -1;
    if (i < 0) return 0;
    out[0] = upstream_source(c->upstreams[i]);
    return 1;
}

/* --- learning --- */

static void learned_tag(const struct repo_name *repo, const char *tag, const struct tag_record *rec, void *rt) {
    struct catalog_tag t = {
        .digest = rec->digest, .size = rec->size, .checked_at = rec->checked_at, .deleted = rec->deleted};
    snprintf(t.media_type, sizeof(t.media_type), "%s", rec->media_type);
    catalog_learn_tag(central_of(rt)->catalog, repo, tag, &t);
}

static void learned(const struct fill_spec *spec, int64_t size, const char *media_type, const uint8_t *proofs,
                    size_t n_proofs, const void *data, size_t len, void *rt) {
    struct catalog *catalog = central_of(rt)->catalog;
    catalog_learn_blob(catalog, &spec->digest, size, true, proofs, n_proofs * digest_len(spec->digest.alg));
    if (!spec->manifest) return;
    struct manifest m;
    if (manifest_parse(&m, data, len, NULL) == 0) catalog_learn_manifest(catalog, &spec->digest, media_type, size, &m);
    manifest_fini(&m);
}

/* A blob's size as it was when it was here, or as manifests claim it: clients have their heads while the upstream is
 * still silent, and of what was here an upstream that sends another length is found out by the first byte. */
struct known_size {
    struct catalog_query query;
    struct catalog_fact fact;
    struct fill *fill;
};

static void on_known_size(struct catalog_query *q) {
    struct known_size *p = container_of(q, struct known_size, query);
    struct fill_advice advice = {.size = p->fact.code == 0 ? p->fact.size : -1, .claimed = p->fact.claimed};
    fill_advise(p->fill, &advice);
    catalog_fact_fini(&p->fact);
    free(p);
}

static void ask_catalogue(struct fill *f, const struct fill_spec *spec, void *rt) {
    struct central *c = central_of(rt);
    struct known_size *p = calloc(1, sizeof(*p));
    if (!p) abort();
    p->fill = f;
    p->fact.digest = spec->digest;
    p->query = (struct catalog_query){.catalog = c->catalog,
                                      .facts = &p->fact,
                                      .n = 1,
                                      .max_bytes = MiB,
                                      .loop = c->rt->fetch,
                                      .done = on_known_size};
    catalog_query_submit(&p->query, c->rt->pool);
}

static void blob_change(const struct digest *d, bool held, void *rt) {
    struct central *c = central_of(rt);
    if (!held && c) catalog_blob_lost(c->catalog, d);
}

/* --- the fleet port --- */

struct tag_question {
    void (*done)(void *done_arg, const struct lookup_tag *found);
    void *done_arg;
};

static void on_tag(const struct tag_answer *a, void *arg) {
    struct tag_question *q = arg;
    int64_t age = clock_wall_s() - a->record.checked_at;
    struct lookup_tag found = {
        .code = a->code,
        .message = a->end.msg[0] ? a->end.msg : NULL,
        .retry_after_s = a->end.retry_after_s,
        .digest = a->record.digest,
        .size = a->record.size,
        .media_type = a->record.media_type,
        .age_s = age > 0 ? age : 0,
        .stale = a->stale,
        .deleted = a->record.deleted,
        .warning = a->warning[0] ? a->warning : NULL,
    };
    q->done(q->done_arg, &found);
    free(q);
}

static void resolve_tag(void *arg, const struct repo_name *repo, const char *tag, const char *request_id,
                        void (*done)(void *done_arg, const struct lookup_tag *found), void *done_arg) {
    struct central *c = arg;
    struct tag_question *q = calloc(1, sizeof(*q));
    if (!q) abort();
    *q = (struct tag_question){done, done_arg};
    registry_resolve_tag(c->rt->registry, repo, tag, request_id, on_tag, q);
}

/* How an upstream stands, as far as is known: by its last request, or by doctor's probe if that came later. */
static void upstream_state(struct central *c, size_t i, struct wire_upstream_state *out) {
    struct upstream *u = c->upstreams[i];
    struct upstream_stats s;
    struct upstream_endpoint_state states[UPSTREAM_ENDPOINTS_MAX];
    upstream_stats(u, &s);
    unsigned n = upstream_endpoints(u, states);
    *out = (struct wire_upstream_state){
        .reachable = s.answers, .requests = s.requests, .rate_limit = s.limit, .rate_remaining = s.remaining};
    snprintf(out->name, sizeof(out->name), "%s", upstream_config(u)->name);
    for (unsigned k = 0; k < n; k++) {
        if (!states[k].answers) snprintf(out->last_error, sizeof(out->last_error), "%s", states[k].last_error);
    }
    pthread_mutex_lock(&c->probed_lock);
    const struct probed *p = &c->probed[i];
    if (p->times > 0 && p->requests_before == s.requests) {
        out->reachable = p->ok;
        snprintf(out->last_error, sizeof(out->last_error), "%s", p->message);
    }
    out->requests += p->times;
    pthread_mutex_unlock(&c->probed_lock);
}

static void keep_probe(struct central *c, size_t i, const struct probe *result) {
    struct upstream_stats s;
    upstream_stats(c->upstreams[i], &s);
    pthread_mutex_lock(&c->probed_lock);
    struct probed *p = &c->probed[i];
    p->times++;
    p->requests_before = s.requests;
    p->ok = result->ok;
    snprintf(p->message, sizeof(p->message), "%s", result->message);
    pthread_mutex_unlock(&c->probed_lock);
}

static void upstreams_handle(struct central *c, struct http_req *req) {
    static const char busy[] = "this cannot be told now\n";
    size_t len, n = c->cfg->n_upstreams;
    uint8_t *bytes;
    struct wire_upstream_state *states = calloc(n + 1, sizeof(*states));
    if (!states) abort();
    for (size_t i = 0; i < n; i++)
        upstream_state(c, i, &states[i]);
    if (wire_upstreams_encode(states, n, &bytes, &len) == 0)
        http_reply_ref(req, 200, WIRE_CONTENT_TYPE, bytes, len, free, bytes);
    else
        http_reply(req, 500, "text/plain; charset=utf-8", busy, sizeof(busy) - 1);
    free(states);
}

static bool path_is(const char *target, const char *path) {
    size_t len = strlen(path);
    return strncmp(target, path, len) == 0 && (!target[len] || target[len] == '?');
}

static void node_request(struct http_req *req, struct runtime *rt) {
    struct central *c = rt->tier;
    const char *target = http_req_target(req);
    if (path_is(target, LOOKUP_PATH)) {
        lookup_handle(c->lookup, req);
        return;
    }
    if (path_is(target, WIRE_UPSTREAMS_PATH) && http_req_method(req) == HTTP_GET) {
        upstreams_handle(c, req);
        return;
    }
    static const char text[] = "no such call on the fleet port\n";
    http_reply(req, 404, "text/plain; charset=utf-8", text, sizeof(text) - 1);
}

/* --- for people --- */

static json_t *upstream_json(struct central *c, size_t i) {
    struct wire_upstream_state s;
    struct upstream_stats counts;
    upstream_state(c, i, &s);
    upstream_stats(c->upstreams[i], &counts);
    const char *message = s.last_error, *name = s.name;
    bool is_default = c->cfg->default_upstream && strcmp(c->cfg->default_upstream, name) == 0;
    json_t *j = json_pack("{s:s, s:b, s:b, s:s, s:s, s:I, s:I}", "name", name, "default", is_default, "ok", s.reachable,
                          "result", s.reachable ? "ok" : message, "message", message, "requests",
                          (json_int_t)s.requests, "failures", (json_int_t)counts.failures);
    if (s.rate_limit >= 0) {
        json_object_set_new(j, "rate_limit", json_integer(s.rate_limit));
        json_object_set_new(j, "rate_remaining", json_integer(s.rate_remaining));
    }
    return j;
}

static json_t *status(void *rt) {
    struct central *c = central_of(rt);
    json_t *list = json_array();
    for (size_t i = 0; i < c->cfg->n_upstreams; i++)
        json_array_append_new(list, upstream_json(c, i));
    json_t *j = json_pack("{s:o, s:I}", "upstreams", list, "sequence", (json_int_t)catalog_sequence(c->catalog));
    json_object_set_new(j, "default_upstream",
                        c->cfg->default_upstream ? json_string(c->cfg->default_upstream) : json_null());
    return j;
}

/* The same, each upstream asked anew: doctor wants to know how it is now. */
static json_t *doctor(void *rt) {
    struct central *c = central_of(rt);
    size_t n = c->cfg->n_upstreams;
    struct probe *probes = calloc(n + 1, sizeof(*probes));
    if (!probes) abort();
    for (size_t i = 0; i < n; i++) {
        const struct upstream_config *u = &c->cfg->upstreams[i];
        probes[i] = (struct probe){.url = u->endpoints[0], .ca_file = u->ca_file, .use_proxy_env = true};
    }
    probe_all(c->rt->fetch, c->rt->client, probes, n, PROBE_MS);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        keep_probe(c, i, &probes[i]);
        json_t *j = upstream_json(c, i);
        json_object_set_new(j, "ok", json_boolean(probes[i].ok));
        json_object_set_new(j, "message", json_string(probes[i].message));
        if (probes[i].has_skew) json_object_set_new(j, "clock_skew_s", json_integer(probes[i].skew_s));
        json_array_append_new(list, j);
    }
    free(probes);
    return json_pack("{s:o, s:I, s:b}", "upstreams", list, "hosted_incomplete", (json_int_t)c->recalled.incomplete,
                     "hosted_unknown", c->recalled.blind);
}

static int load(const char *layout, const char *ref, json_t **result, struct error *err, void *rt) {
    struct central *c = central_of(rt);
    struct load_target t = {.store = c->rt->store, .catalog = c->catalog, .rules = &c->rules};
    return load_image(&t, layout, ref, result, err);
}

static void collect_upstream(struct upstream *u, struct metric_page *page) {
    struct upstream_stats s;
    upstream_stats(u, &s);
    const char *name = upstream_config(u)->name;
    metric_label_set(page, FAMILY_UPSTREAM_REQUESTS, name, "ok", (double)(s.requests - s.failures));
    metric_label_set(page, FAMILY_UPSTREAM_REQUESTS, name, "failed", (double)s.failures);
    metric_label_set(page, FAMILY_TOKEN_FETCHES, name, NULL, (double)s.tokens);
    metric_label_set(page, FAMILY_BREAKER_OPEN, name, NULL, s.reachable ? 0 : 1);
    if (s.limit < 0) return;
    metric_label_set(page, FAMILY_RATE_LIMIT, name, NULL, (double)s.limit);
    metric_label_set(page, FAMILY_RATE_REMAINING, name, NULL, (double)s.remaining);
}

static void collect(struct metric_page *page, void *arg) {
    struct central *c = arg;
    metric_set(page, METRIC_CATALOGUE_SEQUENCE, (double)catalog_sequence(c->catalog));
    for (size_t i = 0; i < c->cfg->n_upstreams; i++)
        collect_upstream(c->upstreams[i], page);
}

/* --- life --- */

static void *xcalloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) abort();
    return p;
}

static void make_rules(struct central *c) {
    const struct central_config *cfg = c->cfg;
    const char **names = xcalloc(cfg->n_upstreams, sizeof(*names));
    for (size_t i = 0; i < cfg->n_upstreams; i++)
        names[i] = cfg->upstreams[i].name;
    c->rules = (struct name_rules){
        .upstreams = names,
        .n_upstreams = cfg->n_upstreams,
        .default_upstream = cfg->default_upstream,
        .hosted = (const char *const *)cfg->hosted,
        .n_hosted = cfg->n_hosted,
        .own_names = (const char *const *)cfg->node.registry_names,
        .n_own_names = cfg->node.n_registry_names,
        .addresses = (const char *const *)c->rt->addresses,
        .n_addresses = c->rt->n_addresses,
    };
}

/* A version that changes with the content, so that an edge hears of a change and of nothing else. */
static uint64_t version_of(const struct wire_settings *s) {
    struct wire_response rs = {.version = WIRE_VERSION, .settings = (struct wire_settings *)(uintptr_t)s};
    uint8_t *data;
    size_t len;
    if (wire_response_encode(&rs, &data, &len, NULL) < 0) return 1;
    struct digest d;
    uint64_t version;
    digest_of(&d, DIGEST_SHA256, data, len);
    memcpy(&version, d.bytes, sizeof(version));
    free(data);
    return version ? version : 1;
}

/* Everything in it is borrowed from the configuration but the array of upstreams. */
static void make_settings(struct central *c) {
    const struct central_config *cfg = c->cfg;
    struct wire_settings *s = &c->settings;
    *s = (struct wire_settings){
        .upstreams = xcalloc(cfg->n_upstreams, sizeof(*s->upstreams)),
        .n_upstreams = cfg->n_upstreams,
        .default_upstream = cfg->default_upstream,
        .hosted = cfg->hosted,
        .n_hosted = cfg->n_hosted,
        .own_names = cfg->node.registry_names,
        .n_own_names = cfg->node.n_registry_names,
    };
    for (size_t i = 0; i < cfg->n_upstreams; i++) {
        const struct upstream_config *u = &cfg->upstreams[i];
        snprintf(s->upstreams[i].name, sizeof(s->upstreams[i].name), "%s", u->name);
        s->upstreams[i].fresh_for_ms = u->fresh_for_ms;
        s->upstreams[i].per_repository = per_repository(u);
    }
    s->version = version_of(s);
}

static int start(struct runtime *rt, struct error *err) {
    struct central *c = xcalloc(1, sizeof(*c));
    c->cfg = (const struct central_config *)(const void *)rt->node;
    c->rt = rt;
    char path[4096];
    snprintf(path, sizeof(path), "%s/catalog.db", rt->node->data);
    int r = catalog_open(&c->catalog, path, CATALOG_READERS, err);
    if (r < 0) {
        free(c);
        return r;
    }
    make_rules(c);
    make_settings(c);
    if (store_recall_due(rt->store)) {
        hosted_recall(c->catalog, rt->store, &c->rules, &c->recalled);
        if (c->recalled.code == 0) store_recall_done(rt->store);
    }
    c->upstreams = xcalloc(c->cfg->n_upstreams, sizeof(*c->upstreams));
    for (size_t i = 0; i < c->cfg->n_upstreams; i++)
        c->upstreams[i] = upstream_new(&c->cfg->upstreams[i], NULL, rt->fetch, rt->client);
    c->probed = xcalloc(c->cfg->n_upstreams, sizeof(*c->probed));
    pthread_mutex_init(&c->probed_lock, NULL);
    struct lookup_config lc = {
        .catalog = c->catalog, .pool = rt->pool, .resolve_tag = resolve_tag, .arg = c, .settings = &c->settings};
    c->lookup = lookup_new(&lc);
    rt->hide_deleted = c->cfg->deleted == DELETED_HIDE;
    rt->tier = c;
    metrics_collect(collect, c);
    return 0;
}

static void relearn(struct work *w) {
    struct central *c = container_of(w, struct central, relearn);
    catalog_relearn(c->catalog, c->rt->store, &c->rules);
}

static void running(struct runtime *rt) {
    struct central *c = rt->tier;
    c->relearn.fn = relearn;
    workpool_submit(rt->pool, &c->relearn);
    runtime_ready(rt);
}

static void stop(struct runtime *rt) {
    struct central *c = rt->tier;
    metrics_uncollect(collect, c);
    lookup_free(c->lookup);
    for (size_t i = 0; i < c->cfg->n_upstreams; i++)
        upstream_free(c->upstreams[i]);
    free(c->upstreams);
    free(c->probed);
    pthread_mutex_destroy(&c->probed_lock);
    rt->tier = NULL;
    catalog_close(c->catalog);
    free(c->settings.upstreams);
    free((void *)(uintptr_t)c->rules.upstreams);
    free(c);
}

static const struct runtime_tier tier = {
    .start = start,
    .running = running,
    .stop = stop,
    .node_request = node_request,
    .status = status,
    .doctor = doctor,
    .load = load,
    .blob_change = blob_change,
    .rules = rules,
    .scope = scope,
    .fresh_for_ms = fresh_for_ms,
    .sources = sources,
    .learned_tag = learned_tag,
    .ask_catalogue = ask_catalogue,
    .learned = learned,
    .negative_ms = NEGATIVE_MS,
    .not_with = "settings.pb",
};

int central_serve(const struct command_context *ctx) {
    return runtime_serve(ctx, &tier);
}
