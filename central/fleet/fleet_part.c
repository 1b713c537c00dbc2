/* Serves lookups, the watch and the upstreams' states on the fleet port. Thread: as node_part.h and lookup.h say of each
 * function. */
#include "central/fleet/fleet_part.h"

#include "central/catalog/catalogue_part.h"
#include "central/catalog/replica_reads.h"
#include "central/fleet/lookup.h"
#include "central/fleet/members_part.h"
#include "central/fleet/road_end.h"
#include "central/fleet/snapshot.h"
#include "central/fleet/watch.h"
#include "central/names/names_part.h"
#include "common/core/alloc.h"
#include "common/core/digest.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

/* Bytes of answers that wait for one edge to read them. An edge asks for one part of a snapshot (2 MiB) at a time, and by
 * few lookups (16 MiB at most, mostly some KiB). */
#define UNREAD_OF_ONE (64 * MiB)

struct fleet {
    struct node *node;
    struct unread *unread;
    struct wire_settings settings;
    struct lookup *lookup;
    struct watches *watches;
    struct snapshots *snapshots;
};

struct tag_question {
    void (*done)(void *done_arg, const struct lookup_tag *found);
    void *done_arg;
};

static void on_tag(const struct tag_answer *a, void *arg) {
    struct tag_question *q = arg;
    const struct lookup_tag found = {.code = a->code,
                                     .message = a->end.msg[0] ? a->end.msg : NULL,
                                     .retry_after_s = a->end.retry_after_s,
                                     .facts = &a->facts};
    q->done(q->done_arg, &found);
    free(q);
}

static void resolve_tag(void *arg, const struct caller *caller, const struct repo_name *repo, const char *tag,
                        const char *request_id, void (*done)(void *done_arg, const struct lookup_tag *found),
                        void *done_arg) {
    const struct fleet *f = arg;
    struct tag_question *q = xcalloc(1, sizeof(*q));
    *q = (struct tag_question){done, done_arg};
    registry_resolve_tag(f->node->registry, caller, repo, 0, tag, request_id, NULL, on_tag, q);
}

static void post_lookup(struct http_req *req, void *arg) {
    lookup_handle(((struct fleet *)arg)->lookup, req);
}

static void get_watch(struct http_req *req, void *arg) {
    watch_handle(((struct fleet *)arg)->watches, req);
}

static void get_snapshot(struct http_req *req, void *arg) {
    snapshot_handle(((struct fleet *)arg)->snapshots, req);
}

static void on_road(struct http_req *req, void *arg) {
    (void)arg;
    road_end_handle(req);
}

static const struct route routes[] = {{WIRE_LOOKUP_PATH, METHODS_POST, PORT_NODE, post_lookup},
                                      {WIRE_WATCH_PATH, METHOD_SET(HTTP_GET), PORT_NODE, get_watch},
                                      {WIRE_SNAPSHOT_PATH, METHOD_SET(HTTP_GET), PORT_NODE, get_snapshot},
                                      {WIRE_ROAD_PATH, METHOD_SET(HTTP_GET) | METHODS_POST, PORT_NODE, on_road},
                                      {0}};

/* --- life --- */

/* The version of the settings: a hash of their content, so that edges notice a change and nothing else. */
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

/* Everything but the array of upstreams is borrowed from the configuration. */
static void make_settings(struct wire_settings *s, const struct central_config *cfg) {
    *s = (struct wire_settings){
        .upstreams = xcalloc(cfg->n_upstreams + 1, sizeof(*s->upstreams)),
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
        s->upstreams[i].per_repository = upstream_is_per_repository(u);
        s->upstreams[i].endpoints = u->endpoints;
        s->upstreams[i].n_endpoints = u->n_endpoints;
    }
    s->version = version_of(s);
}

static uint64_t state_version(void *arg) {
    return members_state_version(arg);
}

static void on_state(void *arg) {
    watches_tell_fleet(((struct fleet *)arg)->watches);
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct fleet *f = xcalloc(1, sizeof(*f));
    f->node = n;
    make_settings(&f->settings, central_config_of(n));
    names_set_version(n, f->settings.version);
    f->unread = unread_new(UNREAD_OF_ONE);
    struct lookup_config lc = {.catalog = catalogue_of(n),
                               .pool = n->pool,
                               .resolve_tag = resolve_tag,
                               .arg = f,
                               .settings = &f->settings,
                               .unread = f->unread};
    f->lookup = lookup_new(&lc);
    f->snapshots = snapshots_new(catalogue_of(n), n->pool, f->unread);
    f->watches = watches_new(&(struct watches_config){.catalog = catalogue_of(n),
                                                      .pool = n->pool,
                                                      .loops = n->serving,
                                                      .n_loops = n->n_serving,
                                                      .settings = f->settings.version,
                                                      .queue = central_config_of(n)->watch_queue,
                                                      .fleet = state_version,
                                                      .arg = n});
    members_on_change(n, on_state, f);
    *self = f;
    return 0;
}

static void ending(void *self) {
    watches_stop(((struct fleet *)self)->watches);
}

static void stop(void *self) {
    struct fleet *f = self;
    watches_free(f->watches);
    snapshots_free(f->snapshots);
    lookup_free(f->lookup);
    unread_free(f->unread);
    free(f->settings.upstreams);
    free(f);
}

void fleet_set_dns(const struct node *n, const struct watch_aside *dns) {
    watches_set_dns(((struct fleet *)node_part(n, &part_fleet))->watches, dns);
}

void fleet_tell_dns(const struct node *n) {
    watches_tell_dns(((struct fleet *)node_part(n, &part_fleet))->watches);
}

static void status(json_t *into, void *self) {
    struct watches_stats s;
    watches_stats(((struct fleet *)self)->watches, &s);
    struct place p;
    char text[PLACE_TEXT_MAX];
    if (catalog_place(catalogue_of(((struct fleet *)self)->node), &p) == 0)
        json_object_set_new(into, "place",
                            json_pack("{s:s, s:I}", "place", place_short(&p, text), "number", (json_int_t)p.number));
    json_object_set_new(into, "edges_watching", json_integer((json_int_t)s.watching));
}

static void metrics(struct metric_page *page, void *self) {
    struct watches_stats s;
    watches_stats(((struct fleet *)self)->watches, &s);
    metric_set(page, METRIC_WATCHES, (double)s.watching);
    metric_set(page, METRIC_WATCHES_CUT, (double)s.cut);
}

const struct node_part part_fleet = {.name = "fleet",
                                     .start = start,
                                     .ending = ending,
                                     .stop = stop,
                                     .routes = routes,
                                     .status = status,
                                     .metrics = metrics};
