/* Starts the upstreams, chooses the one of a name, and shows how they stand. Thread: as node_part.h and source/supply.h
 * say of each function. */
#include "central/upstream/upstreams_part.h"

#include "central/names/names_part.h"
#include "common/upstream/upstream.h"
#include "common/core/alloc.h"
#include "common/node/probe.h"
#include "common/node/upstream_metrics.h"
#include "common/store/tag.h"
#include "common/wire/upstreams.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

#define PROBE_MS 5000

struct upstreams {
    struct node *node;
    const struct central_config *cfg;
    struct upstream_limits limits;
    struct upstream **upstreams;
    struct supply supply;
    pthread_mutex_t probed_lock; /* guards probed, for a few instructions */
    struct probed {
        bool ok;
        char message[256];
        int64_t times, requests_before;
    } * probed; /* of each upstream, by doctor */
};

static unsigned sources(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg) {
    struct upstreams *c = arg;
    long i = repo->upstream[0] ? central_upstream_index(c->cfg, repo->upstream) : -1;
    if (i < 0) return 0;
    out[0] = upstream_source(c->upstreams[i]);
    return 1;
}

/* struct upstream_held.another */
static bool another_is_held(const struct repo_name *repo, const char *tag, const struct digest *manifest, void *arg) {
    const struct upstreams *c = arg;
    return store_tag_holds_another(c->node->store, repo, tag, manifest);
}

/* How an upstream stands, as far as is known: by its last request, or by doctor's probe if that came later. */
static void upstream_state(struct upstreams *c, size_t i, struct wire_upstream_state *out) {
    struct upstream *u = c->upstreams[i];
    struct upstream_stats s;
    struct upstream_endpoint_state states[UPSTREAM_ENDPOINTS_MAX];
    upstream_stats(u, &s);
    unsigned n = upstream_endpoints(u, states);
    *out = (struct wire_upstream_state){.reachable = s.answers,
                                        .requests = s.requests,
                                        .rate_limit = s.limit,
                                        .rate_remaining = s.remaining,
                                        .wait_s = s.wait_s};
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

static void keep_probe(struct upstreams *c, size_t i, const struct probe *result) {
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

static void get_upstreams(struct http_req *req, void *arg) {
    struct upstreams *c = arg;
    size_t len, n = c->cfg->n_upstreams;
    uint8_t *bytes;
    struct wire_upstream_state *states = xcalloc(n + 1, sizeof(*states));
    for (size_t i = 0; i < n; i++)
        upstream_state(c, i, &states[i]);
    if (wire_upstreams_encode(states, n, &bytes, &len) == 0)
        http_reply_ref(req, 200, WIRE_CONTENT_TYPE, bytes, len, free, bytes);
    else
        http_reply_text(req, 500, "the state of the upstreams cannot be read now");
    free(states);
}

static const struct route routes[] = {{WIRE_UPSTREAMS_PATH, METHODS_READ, PORT_NODE, get_upstreams}, {0}};

/* --- for people --- */

static json_t *upstream_json(struct upstreams *c, size_t i) {
    struct wire_upstream_state s;
    struct upstream_stats counts;
    upstream_state(c, i, &s);
    upstream_stats(c->upstreams[i], &counts);
    const char *message = s.last_error, *name = s.name;
    bool is_default = c->cfg->default_upstream && strcmp(c->cfg->default_upstream, name) == 0;
    json_t *j = json_pack("{s:s, s:b, s:b, s:s, s:s, s:I, s:I}", "name", name, "default", is_default, "ok", s.reachable,
                          "result", s.reachable ? "ok" : message, "message", message, "requests",
                          (json_int_t)s.requests, "failures", (json_int_t)counts.failures);
    json_object_set_new(j, "wait_s", json_integer(s.wait_s));
    if (s.rate_limit >= 0) {
        json_object_set_new(j, "rate_limit", json_integer(s.rate_limit));
        json_object_set_new(j, "rate_remaining", json_integer(s.rate_remaining));
    }
    return j;
}

static void status(json_t *into, void *self) {
    struct upstreams *c = self;
    json_t *list = json_array();
    for (size_t i = 0; i < c->cfg->n_upstreams; i++)
        json_array_append_new(list, upstream_json(c, i));
    const char *bare = c->cfg->default_upstream;
    json_object_set_new(into, "upstreams", list);
    json_object_set_new(into, "default_upstream", bare ? json_string(bare) : json_null());
}

/* The same, each upstream asked anew: doctor wants to know how it is now. */
static void doctor(json_t *into, void *self) {
    struct upstreams *c = self;
    size_t n = c->cfg->n_upstreams;
    struct probe *probes = xcalloc(n + 1, sizeof(*probes));
    for (size_t i = 0; i < n; i++) {
        const struct upstream_config *u = &c->cfg->upstreams[i];
        probes[i] = (struct probe){.url = u->endpoints[0], .ca_file = u->ca_file, .use_proxy_env = true};
    }
    probes_ask(c->node->probes, probes, n, PROBE_MS);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        keep_probe(c, i, &probes[i]);
        json_t *j = upstream_json(c, i);
        json_object_set_new(j, "ok", json_boolean(probes[i].ok));
        json_object_set_new(j, "message", json_string(probes[i].message));
        if (probes[i].certificate_time) json_object_set_new(j, "certificate_time", json_true());
        if (probes[i].has_skew) json_object_set_new(j, "clock_skew_s", json_integer(probes[i].skew_s));
        json_array_append_new(list, j);
    }
    free(probes);
    json_object_set_new(into, "upstreams", list);
}

static void metrics(struct metric_page *page, void *self) {
    struct upstreams *c = self;
    for (size_t i = 0; i < c->cfg->n_upstreams; i++)
        upstream_metrics(c->upstreams[i], page);
}

/* --- life --- */

static int start(struct node *n, void **self, struct error *err) {
    int r = http_proxies_check(err);
    if (r < 0) return r;
    struct upstreams *c = xcalloc(1, sizeof(*c));
    c->node = n;
    c->cfg = central_config_of(n);
    c->limits = upstream_limits_default;
    c->limits.queue_of_one = n->config->waiting_per_addr;
    c->limits.queue = n->config->waiting;
    c->upstreams = xcalloc(c->cfg->n_upstreams, sizeof(*c->upstreams));
    for (size_t i = 0; i < c->cfg->n_upstreams; i++) {
        c->upstreams[i] = upstream_new(&c->cfg->upstreams[i], &c->limits, n->fetch, n->client);
        upstream_set_held(c->upstreams[i], &(struct upstream_held){another_is_held, c});
    }
    c->probed = xcalloc(c->cfg->n_upstreams, sizeof(*c->probed));
    pthread_mutex_init(&c->probed_lock, NULL);
    c->supply = (struct supply){.sources = sources, .arg = c};
    n->supply = &c->supply;
    *self = c;
    return 0;
}

static void stop(void *self) {
    struct upstreams *c = self;
    for (size_t i = 0; i < c->cfg->n_upstreams; i++)
        upstream_free(c->upstreams[i]);
    free(c->upstreams);
    free(c->probed);
    pthread_mutex_destroy(&c->probed_lock);
    free(c);
}

const struct node_part part_upstreams = {
    .name = "upstreams",
    .start = start,
    .stop = stop,
    .routes = routes,
    .status = status,
    .doctor = doctor,
    .metrics = metrics,
};
