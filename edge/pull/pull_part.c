/* Starts what pulls need on an edge, and connects it. Thread: as node_part.h, serve/policy.h, source/supply.h and
 * fill/ledger.h say of each function. */
#include "edge/pull/pull_part.h"

#include "common/core/alloc.h"
#include "common/node/probe.h"
#include "common/source/ask.h"
#include "common/node/share_metrics.h"
#include "common/node/upstream_metrics.h"
#include "common/records/record.h"
#include "common/wire/upstreams.h"
#include "edge/config/edge_config.h"
#include "edge/link/link_part.h"
#include "edge/pull/central_source.h"
#include "edge/pull/confirm.h"
#include "edge/pull/fallback.h"
#include "edge/pull/lookups.h"
#include "edge/pull/measure.h"
#include "edge/pull/road.h"
#include "edge/replica/replica_part.h"
#include "common/core/clock.h"
#include "common/store/tag.h"

#include <string.h>

/* How long a "not found" is kept. Central keeps it for a while, too, and a new tag must be seen within 10 s. */
#define NEGATIVE_MS 2000
#define ANSWER_WITHIN_MS 8000
#define PROBE_MS 5000
#define LIBRARY_PREFIX "library/" /* put before a single component (common/oci/resolve.c) */

struct pull {
    struct node *node;
    const struct uplink *uplink;
    struct settings *settings;
    struct central_source *central;
    struct fallback *fallback; /* NULL: off */
    struct lookups *lookups;
    struct confirm *confirm;
    struct replica *replica;
    struct follow *follow;
    struct policy policy;
    struct supply supply;
    struct ledger ledger;
    void (*asked)(const struct repo_name *repo, const char *tag, void *arg); /* NULL: nobody is told */
    void *asked_arg;
};

static const struct name_rules *rules(void *arg) {
    return settings_rules(((struct pull *)arg)->settings);
}

static enum names_state names(char *why, size_t cap, void *arg) {
    struct pull *e = arg;
    if (central_source_lacks_settings(e->central, why, cap)) return NAMES_UNKNOWN;
    return confirm_is_settled(e->confirm) ? NAMES_SETTLED : NAMES_UNCONFIRMED;
}

static void names_await(struct names_wait *w, void *arg) {
    confirm_await(((struct pull *)arg)->confirm, w);
}

static const char *scope(const struct repo_name *repo, char out[REPO_STR_MAX], void *arg) {
    const struct pull *e = arg;
    int64_t fresh;
    bool per_repository = true;
    bool known = repo->upstream[0] && settings_upstream(e->settings, repo->upstream, &fresh, &per_repository);
    return known && !per_repository ? repo->upstream : repo_name_str(repo, out);
}

/* What central hosts may move at any time, and central answers from memory. */
static int64_t fresh_for_ms(const struct repo_name *repo, void *arg) {
    int64_t fresh = 0;
    bool per_repository;
    const struct pull *e = arg;
    if (!repo->upstream[0] || !settings_upstream(e->settings, repo->upstream, &fresh, &per_repository)) return 0;
    return e->fallback ? fallback_fresh_ms(e->fallback, fresh) : fresh;
}

/* With the stream of changes alive, the replica knows a tag as well as central does: of what is hosted at any time, of
 * what is mirrored while central's last check is fresh. */
static bool tag_told(const struct repo_name *repo, const char *tag, uint64_t settings, struct tag_facts *out,
                     void *arg) {
    const struct pull *e = arg;
    int64_t fresh_ms = 0, now = clock_wall_s();
    bool per_repository;
    if (!follow_tag(e->follow, settings, repo, tag, out) || out->deleted) return false;
    if (repo->upstream[0]) {
        if (!settings_upstream(e->settings, repo->upstream, &fresh_ms, &per_repository)) return false;
        if (now < out->checked_at || (now - out->checked_at) * 1000 >= fresh_ms) return false;
    } else {
        out->checked_at = now;
    }
    replica_answered(e->node);
    return true;
}

static bool tag_last(const struct repo_name *repo, const char *tag, struct tag_facts *out, void *arg) {
    return replica_last_tag(((struct pull *)arg)->node, repo, tag, out);
}

static unsigned sources(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg) {
    (void)repo;
    const struct pull *e = arg;
    out[0] = e->fallback ? fallback_source(e->fallback) : central_source(e->central);
    return 1;
}

static void ask_catalogue(struct fill *f, const struct fill_spec *spec, void *arg) {
    lookups_ask(((struct pull *)arg)->lookups, f, spec);
}

/* --- for people --- */

static json_t *central_json(const struct pull *e) {
    struct central_state s;
    central_source_state(e->central, &s);
    return json_pack("{s:s, s:b, s:I, s:I, s:s, s:b}", "url", uplink_url(e->uplink), "reachable", s.reachable, "since",
                     (json_int_t)s.since_s, "failures", (json_int_t)s.failures, "message", s.last_error, "polls",
                     confirm_polls(e->confirm));
}

static void add_upstream(struct upstream *u, void *arg) {
    struct upstream_stats s;
    upstream_stats(u, &s);
    json_array_append_new(arg, json_pack("{s:s, s:b, s:I, s:I}", "name", upstream_config(u)->name, "ok", s.answers,
                                         "requests", (json_int_t)s.requests, "failures", (json_int_t)s.failures));
}

/* The upstreams are those that were asked. */
static json_t *fallback_json(const struct fallback *f) {
    struct fallback_state s = {0};
    json_t *list = json_array();
    if (f) fallback_state(f, &s);
    if (f) fallback_each(f, add_upstream, list);
    return json_pack("{s:s, s:b, s:I, s:I, s:o}", "rule", f ? "upstream" : "off", "active", s.active, "requests",
                     (json_int_t)s.requests, "failures", (json_int_t)s.failures, "upstreams", list);
}

static void status(json_t *into, void *self) {
    const struct pull *e = self;
    json_object_set_new(into, "central", central_json(e));
    json_object_set_new(into, "fallback", fallback_json(e->fallback));
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
        json_object_set_new(j, "wait_s", json_integer(s->wait_s));
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
static void doctor(json_t *into, void *self) {
    struct pull *e = self;
    const char *url = uplink_url(e->uplink);
    struct buf said;
    buf_init(&said, WIRE_MAX_UPSTREAMS);
    struct loop *l = e->node->fetch;
    struct http_call_spec how = {0};
    uplink_secure(e->uplink, &how);
    struct probe p = {.url = url,
                      .tls = how.tls,
                      .insecure_tls = central_is_loopback(url),
                      .by_proxy = how.proxy,
                      .use_proxy_env = how.use_proxy_env,
                      .path = WIRE_UPSTREAMS_PATH,
                      .body = &said};
    int64_t allowance_ms = uplink_allowance_ms(e->uplink);
    probes_ask(e->node->probes, &p, 1, PROBE_MS + allowance_ms);
    char why[CENTRAL_WHY_MAX];
    bool good = p.status > 0 && central_is_fleet_port(p.status, p.content_type, why);
    if (p.refused[0]) snprintf(why, sizeof(why), CENTRAL_REFUSES, p.refused);
    bool portal = p.status == 0 && !how.proxy && road_has_portal(e->node->probes, url, why, sizeof(why));
    if (portal) memcpy(p.message, why, sizeof(p.message));
    /* Show one consistent state: if central answers now, do not report it as unreachable too. */
    if (good) loop_call(l, central_source_found, e->central);
    json_t *j = json_pack("{s:s, s:b, s:b, s:b, s:s}", "url", url, "reachable", good, "refused", p.refused[0] != 0,
                          "polls", confirm_polls(e->confirm), "message",
                          good           ? ""
                          : p.status > 0 ? why
                                         : p.message);
    if (p.has_skew) json_object_set_new(j, "clock_skew_s", json_integer(p.skew_s));
    json_object_set_new(into, "central", j);
    json_object_set_new(into, "fallback", fallback_json(e->fallback));
    json_t *list = good ? upstream_states_json(&said) : NULL;
    if (list) json_object_set_new(into, "upstreams", list);
    buf_fini(&said);
    if (good || (p.status == 0 && !portal)) {
        struct road_facts road;
        p.body = NULL;
        road_measure(e->node->probes, &p, allowance_ms, &road);
        json_object_set_new(into, "road", road_facts_json(&road));
    }
}

static void upstream_rows(struct upstream *u, void *page) {
    upstream_metrics(u, page);
}

static void metrics(struct metric_page *page, void *self) {
    const struct pull *e = self;
    struct central_state s;
    central_source_state(e->central, &s);
    metric_set(page, METRIC_CENTRAL_REACHABLE, s.reachable);
    struct share_stats places;
    central_source_places(e->central, &places);
    share_metrics(page, "central", &places);
    metric_label_set(page, FAMILY_BREAKER_OPEN, "central", NULL, s.reachable ? 0 : 1);
    if (!e->fallback) return;
    struct fallback_state f;
    fallback_state(e->fallback, &f);
    metric_set(page, METRIC_FALLBACK_ACTIVE, f.active);
    metric_set(page, METRIC_FALLBACK_REQUESTS, (double)f.requests);
    fallback_each(e->fallback, upstream_rows, page);
}

/* --- life --- */

static bool knows_tag(const struct repo_name *repo, const char *tag, void *arg) {
    const struct pull *e = arg;
    char name[REPO_STR_MAX];
    struct tag_facts rec;
    struct blob_info info;
    if (store_tag_get(e->node->store, repo_name_str(repo, name), tag, &rec)) return !rec.deleted;
    return replica_last_tag(e->node, repo, tag, &rec) && !rec.deleted &&
           store_lookup(e->node->store, &rec.digest, &info);
}

static bool central_is_gone(void *arg) {
    struct central_state s;
    central_source_state(((struct pull *)arg)->central, &s);
    return s.gone;
}

/* A tag of a hosted repository that would have this name, had central not said since that it is hosted. */
static bool is_hosted(const struct repo_name *repo, const char *tag, void *arg) {
    const struct pull *e = arg;
    struct repo_name hosted = {.upstream = ""};
    uint8_t key[RECORD_TAG_KEY_MAX];
    struct tag_facts facts;
    int forms = strncmp(repo->path, LIBRARY_PREFIX, strlen(LIBRARY_PREFIX)) == 0 ? 2 : 1;
    for (int i = 0; i < forms; i++) { /* with library/, and without */
        snprintf(hosted.path, sizeof(hosted.path), "%s", repo->path + (i ? strlen(LIBRARY_PREFIX) : 0));
        size_t len = record_tag_key(&hosted, tag, key);
        if (len > 0 && replica_tag(e->replica, key, len, &facts)) return true;
    }
    return false;
}

static bool another_is_held(const struct repo_name *repo, const char *tag, const struct digest *manifest, void *arg) {
    return store_tag_holds_another(((struct pull *)arg)->node->store, repo, tag, manifest);
}

static struct fallback *make_fallback(struct pull *e) {
    const struct node *n = e->node;
    return fallback_new(&(struct fallback_config){.central = central_source(e->central),
                                                  .settings = e->settings,
                                                  .loop = n->fetch,
                                                  .client = n->client,
                                                  .queue_of_one = n->config->waiting_per_addr,
                                                  .queue = n->config->waiting,
                                                  .held = {another_is_held, e},
                                                  .gone = central_is_gone,
                                                  .knows = knows_tag,
                                                  .hosted = is_hosted,
                                                  .arg = e});
}

/* Fetch loop: what failed may be asked again at once. */
static void central_is_back(void *arg) {
    struct pull *e = arg;
    if (e->fallback) fallback_over(e->fallback);
    asker_forget(e->node->asker);
    confirm_doubt(e->confirm);
}

static void is_outdated(void *arg) {
    confirm_doubt(((struct pull *)arg)->confirm);
}

static void ask_for_settings(void *arg) {
    lookups_refresh(((struct pull *)arg)->lookups);
}

static void central_answers(void *arg) {
    central_source_found(((struct pull *)arg)->central);
}

static void central_refuses(const char *why, void *arg) {
    central_source_refused(((struct pull *)arg)->central, why);
}

static void watch_failed(void *arg) {
    link_central_away(((struct pull *)arg)->node);
}

static void settings_heard(bool good, void *arg) {
    struct pull *e = arg;
    if (settings_known(e->settings)) node_condition(e->node, "settings", NULL);
    confirm_told(e->confirm, good);
}

static void stream_from(char out[PLACE_TEXT_MAX], void *arg) {
    follow_from(((struct pull *)arg)->follow, out);
}

static void stream_began(uint64_t settings, void *arg) {
    follow_begin(((struct pull *)arg)->follow, settings);
}

static void stream_data(const void *data, size_t len, void *arg) {
    follow_data(((struct pull *)arg)->follow, data, len);
}

static void stream_ended(void *arg) {
    follow_end(((struct pull *)arg)->follow);
}

static void stream_paused(void *arg) {
    follow_pause(((struct pull *)arg)->follow);
}

static void restart_stream(void *arg) {
    confirm_restart(((struct pull *)arg)->confirm);
}

static bool known_blob(const struct digest *d, int64_t *size, void *arg) {
    struct pull *e = arg;
    bool known = replica_blob(e->replica, d, size);
    if (known) replica_answered(e->node);
    return known;
}

static bool known_manifest(const struct digest *d, struct wire_manifest *m, void *arg) {
    return replica_manifest(((struct pull *)arg)->replica, d, m);
}

static void make_confirm(struct pull *e) {
    struct confirm_config cfg = {.uplink = e->uplink,
                                 .loop = e->node->fetch,
                                 .client = e->node->client,
                                 .settings = e->settings,
                                 .ask = ask_for_settings,
                                 .from = stream_from,
                                 .with_dns =
                                     ((const struct edge_config *)(const void *)e->node->config)->dns.listen != NULL,
                                 .stream_began = stream_began,
                                 .stream_data = stream_data,
                                 .stream_ended = stream_ended,
                                 .stream_paused = stream_paused,
                                 .found = central_answers,
                                 .refused = central_refuses,
                                 .failed = watch_failed,
                                 .arg = e};
    e->confirm = confirm_new(&cfg);
    central_source_on_outdated(e->central, is_outdated, e);
    link_on_change(e->node, is_outdated, e);
    lookups_on_heard(e->lookups, settings_heard, e);
    replica_on_restart(e->node, restart_stream, e);
    lookups_first_ask(e->lookups, &(struct lookups_known){known_blob, known_manifest, e});
    if (!settings_known(e->settings))
        node_condition(e->node, "settings", "this edge has no settings from central yet, so it cannot decide names");
}

static void tag_asked(const struct repo_name *repo, const char *tag, const struct tag_facts *facts, void *arg) {
    const struct pull *e = arg;
    (void)facts;
    if (e->asked) e->asked(repo, tag, e->asked_arg);
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct pull *e = xcalloc(1, sizeof(*e));
    e->node = n;
    const struct edge_config *cfg = (const struct edge_config *)(const void *)n->config;
    e->uplink = uplink_of(n);
    e->settings = settings_of(n);
    e->replica = replica_of(n);
    e->follow = follow_of(n);
    e->central = central_source_new(&(struct central_source_config){.uplink = e->uplink,
                                                                    .settings = e->settings,
                                                                    .loop = n->fetch,
                                                                    .client = n->client,
                                                                    .pulls = link_pulls(n),
                                                                    .requests = cfg->central_requests,
                                                                    .queue_of_one = n->config->waiting_per_addr,
                                                                    .queue = n->config->waiting});
    central_source_known_tags(e->central, knows_tag, e);
    central_source_on_found(e->central, central_is_back, e);
    if (cfg->fallback == FALLBACK_UPSTREAM) e->fallback = make_fallback(e);
    e->lookups = lookups_new(n->fetch, central_source_posts(e->central), e->settings);
    make_confirm(e);
    e->policy = (struct policy){
        .negative_ms = NEGATIVE_MS,
        .answer_within_ms = ANSWER_WITHIN_MS,
        .hide_deleted = true, /* central decides whether a deleted tag is still shown */
        .rules = rules,
        .names = names,
        .names_await = names_await,
        .scope = scope,
        .fresh_for_ms = fresh_for_ms,
        .tag_told = tag_told,
        .tag_last = tag_last,
        .tag_asked = tag_asked,
        .arg = e,
    };
    e->supply = (struct supply){.sources = sources, .arg = e};
    e->ledger = (struct ledger){.ask_catalogue = ask_catalogue, .arg = e};
    n->policy = &e->policy;
    n->supply = &e->supply;
    n->ledger = &e->ledger;
    node_hold(n);
    *self = e;
    return 0;
}

static void on_ready(void *arg) {
    node_release(arg);
}

static void running(void *self) {
    struct pull *e = self;
    lookups_begin(e->lookups, on_ready, e->node);
    confirm_begin(e->confirm);
}

static void stop(void *self) {
    struct pull *e = self;
    confirm_free(e->confirm);
    lookups_free(e->lookups);
    fallback_free(e->fallback);
    central_source_free(e->central);
    free(e);
}

const struct node_part part_pull = {
    .name = "pull",
    .start = start,
    .running = running,
    .stop = stop,
    .status = status,
    .doctor = doctor,
    .metrics = metrics,
};

void pull_on_asked(const struct node *n, void (*fn)(const struct repo_name *repo, const char *tag, void *arg),
                   void *arg) {
    struct pull *e = node_part(n, &part_pull);
    e->asked = fn;
    e->asked_arg = arg;
}
