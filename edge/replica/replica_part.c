/* Starts the replica, stores it, and shows it to operators. Thread: as node_part.h says of each function. */
#include "edge/replica/replica_part.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/offload.h"
#include "common/records/record.h"
#include "edge/config/edge_config.h"
#include "edge/link/link_part.h"
#include "edge/replica/fetch.h"
#include "edge/replica/replica_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* How often it is stored, if it has changed; at the end and when all of it was fetched it is stored at once. */
#define SAVE_LOOK_MS 10000
#define SAVE_EVERY_MS (5 * 60 * 1000)

struct replica_node {
    struct replica *replica;
    struct follow *follow;
    struct tile_fetch *fetch;
    struct node *node;
    char path[4096];
    /* The fetch loop's: storing it. */
    struct timer save_due;
    bool saving, saved_once;
    struct place saved;
    int64_t saved_ms;
    int64_t stored_s; /* when an earlier life stored it; 0: it has not */
    struct replica_view *view;
    struct place view_place;
    struct offload work;
    void (*restart)(void *arg);
    void *restart_arg;
    void (*dns)(const struct watch_dns *told, void *arg);
    void *dns_arg;
    _Atomic int64_t answers;
};

static void want_list(void *arg) {
    tile_fetch_list(((struct replica_node *)arg)->fetch);
}

static void want_tiles(const unsigned *tiles, size_t n, bool full, void *arg) {
    tile_fetch_tiles(tiles, n, full, ((struct replica_node *)arg)->fetch);
}

static void restart(void *arg) {
    struct replica_node *e = arg;
    if (e->restart) e->restart(e->restart_arg);
}

static void save(struct replica_node *e) {
    struct error err = {0};
    if (replica_save(e->view, &e->view_place, e->path, &err) < 0)
        log_warn("replica_not_saved", KV_S("why", err.msg), KV_S("then", "a restart fetches what differs"));
    replica_view_free(e->view);
    e->view = NULL;
}

static void save_view(struct offload *o) {
    save(container_of(o, struct replica_node, work));
}

static void on_saved(struct offload *o) {
    container_of(o, struct replica_node, work)->saving = false;
}

/* Begins to store the replica. False: it is stored already, or was never equal to central's catalogue. */
static bool begin_save(struct replica_node *e) {
    if (e->saving || !follow_place(e->follow, &e->view_place)) return false;
    if (place_same_epoch(&e->saved, &e->view_place) && e->saved.number == e->view_place.number) return false;
    e->view = replica_view_new(e->replica);
    e->saved = e->view_place;
    e->saved_ms = clock_mono_ms();
    return true;
}

static void on_save_due(void *arg) {
    struct replica_node *e = arg;
    bool due = !e->saved_once || clock_mono_ms() - e->saved_ms >= SAVE_EVERY_MS;
    if (due && begin_save(e)) {
        e->saving = e->saved_once = true;
        offload_start(&e->work, e->node->pool, e->node->fetch);
    }
    timer_set(&e->save_due, SAVE_LOOK_MS);
}

static void fleet_told(uint64_t version, void *arg) {
    link_fleet_told(((struct replica_node *)arg)->node, version);
}

static void dns_told(const struct watch_dns *told, void *arg) {
    const struct replica_node *e = arg;
    if (e->dns) e->dns(told, e->dns_arg);
}

static void running(void *self) {
    timer_set(&((struct replica_node *)self)->save_due, SAVE_LOOK_MS);
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct replica_node *e = xcalloc(1, sizeof(*e));
    const struct edge_config *cfg = (const struct edge_config *)(const void *)n->config;
    e->replica = replica_new(cfg->replica_limit);
    e->fetch = tile_fetch_new(&(struct tile_fetch_config){
        .uplink = uplink_of(n), .loop = n->fetch, .client = n->client, .pulls = link_pulls(n)});
    e->follow = follow_new(&(struct follow_config){.replica = e->replica,
                                                   .want_list = want_list,
                                                   .want_tiles = want_tiles,
                                                   .restart = restart,
                                                   .fleet = fleet_told,
                                                   .dns = dns_told,
                                                   .arg = e});
    tile_fetch_for(e->fetch, e->follow);
    e->node = n;
    snprintf(e->path, sizeof(e->path), "%s/replica", n->config->data);
    e->saved_once = replica_load(e->replica, e->path, &e->saved);
    if (e->saved_once) follow_resume(e->follow, &e->saved);
    struct stat st;
    if (e->saved_once && stat(e->path, &st) == 0) e->stored_s = st.st_mtime;
    e->saved_ms = clock_mono_ms();
    e->work = (struct offload){.run = save_view, .back = on_saved};
    timer_init(&e->save_due, n->fetch, on_save_due, e);
    *self = e;
    return 0;
}

static void stop(void *self) {
    struct replica_node *e = self;
    e->saving = false;
    if (begin_save(e)) save(e);
    timer_fini(&e->save_due);
    tile_fetch_free(e->fetch);
    follow_free(e->follow);
    replica_free(e->replica);
    free(e);
}

static int64_t heard_s_ago(const struct follow_stats *s) {
    return s->heard_ms ? (clock_mono_ms() - s->heard_ms) / 1000 : -1;
}

static json_t *to_json(const struct replica_node *e) {
    struct follow_stats s;
    struct replica_stats r;
    char place[PLACE_TEXT_MAX];
    follow_stats(e->follow, &s);
    replica_stats(e->replica, &r);
    json_t *j = json_pack("{s:s, s:b, s:b, s:s, s:I}", "state", follow_state_name(s.state), "live", s.live, "equal",
                          s.live && s.state == FOLLOW_EQUAL, "place", place_short(&s.place, place), "number",
                          (json_int_t)s.place.number);
    json_object_set_new(j, "heard_s_ago", json_integer(heard_s_ago(&s)));
    json_object_set_new(j, "blobs", json_integer(r.records[RECORD_BLOB]));
    json_object_set_new(j, "manifests", json_integer(r.records[RECORD_MANIFEST]));
    json_object_set_new(j, "tags", json_integer(r.records[RECORD_TAG]));
    json_object_set_new(j, "bytes", json_integer(r.bytes));
    json_object_set_new(j, "limit", json_integer(r.limit));
    json_object_set_new(j, "tiles_wanted", json_integer(s.tiles_wanted));
    json_object_set_new(j, "tiles_fetched", json_integer(s.tiles_fetched));
    json_object_set_new(j, "mismatches", json_integer(s.mismatches));
    json_object_set_new(j, "answers", json_integer(atomic_load(&e->answers)));
    return j;
}

static void status(json_t *into, void *self) {
    json_object_set_new(into, "replica", to_json(self));
}

static void metrics(struct metric_page *page, void *self) {
    const struct replica_node *e = self;
    struct follow_stats s;
    struct replica_stats r;
    follow_stats(e->follow, &s);
    if (s.heard_ms) metric_set(page, METRIC_CLOCK_AHEAD, (double)s.clock_ahead_s);
    replica_stats(e->replica, &r);
    metric_set(page, METRIC_REPLICA_LIVE, s.live && s.state == FOLLOW_EQUAL);
    metric_set(page, METRIC_REPLICA_NUMBER, (double)s.place.number);
    metric_set(page, METRIC_REPLICA_LAG, s.heard_ms ? (double)(clock_mono_ms() - s.heard_ms) / 1000 : -1);
    metric_set(page, METRIC_REPLICA_RECORDS,
               (double)(r.records[RECORD_BLOB] + r.records[RECORD_MANIFEST] + r.records[RECORD_TAG]));
    metric_set(page, METRIC_REPLICA_BYTES, (double)r.bytes);
    metric_set(page, METRIC_REPLICA_ANSWERS, (double)atomic_load(&e->answers));
}

const struct node_part part_replica = {.name = "replica",
                                       .start = start,
                                       .running = running,
                                       .stop = stop,
                                       .status = status,
                                       .doctor = status,
                                       .metrics = metrics};

struct replica *replica_of(const struct node *n) {
    return ((struct replica_node *)node_part(n, &part_replica))->replica;
}

struct follow *follow_of(const struct node *n) {
    return ((struct replica_node *)node_part(n, &part_replica))->follow;
}

void replica_on_restart(const struct node *n, void (*restart_fn)(void *arg), void *arg) {
    struct replica_node *e = node_part(n, &part_replica);
    e->restart = restart_fn;
    e->restart_arg = arg;
}

void replica_on_dns(const struct node *n, void (*dns)(const struct watch_dns *told, void *arg), void *arg) {
    struct replica_node *e = node_part(n, &part_replica);
    e->dns = dns;
    e->dns_arg = arg;
}

void replica_answered(const struct node *n) {
    atomic_fetch_add_explicit(&((struct replica_node *)node_part(n, &part_replica))->answers, 1, memory_order_relaxed);
}

/* By the wall clock; 0: never. */
static int64_t heard_at_s(const struct replica_node *e) {
    struct follow_stats s;
    follow_stats(e->follow, &s);
    return s.heard_ms ? clock_wall_s() - heard_s_ago(&s) : e->stored_s;
}

bool replica_last_tag(const struct node *n, const struct repo_name *repo, const char *tag, struct tag_facts *t) {
    const struct replica_node *e = node_part(n, &part_replica);
    uint8_t key[RECORD_TAG_KEY_MAX];
    size_t len = record_tag_key(repo, tag, key);
    if (len == 0 || !replica_tag(e->replica, key, len, t)) return false;
    if (!repo->upstream[0]) t->checked_at = heard_at_s(e);
    return true;
}
