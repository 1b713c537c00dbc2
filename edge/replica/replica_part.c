/* Thread: as node_part.h says of each function. */
#include "edge/replica/replica_part.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "edge/config/edge_config.h"
#include "edge/link/central.h"
#include "edge/replica/fetch.h"

#include <string.h>

struct replica_node {
    struct replica *replica;
    struct follow *follow;
    struct tile_fetch *fetch;
    void (*restart)(void *arg);
    void *restart_arg;
    _Atomic int64_t answers;
};

static void want_list(void *arg) {
    tile_fetch_list(((struct replica_node *)arg)->fetch);
}

static void want_tiles(const unsigned *tiles, size_t n, void *arg) {
    tile_fetch_tiles(tiles, n, ((struct replica_node *)arg)->fetch);
}

static void restart(void *arg) {
    struct replica_node *e = arg;
    if (e->restart) e->restart(e->restart_arg);
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct replica_node *e = xcalloc(1, sizeof(*e));
    const struct edge_config *cfg = (const struct edge_config *)(const void *)n->config;
    e->replica = replica_new(cfg->replica_limit);
    e->fetch = tile_fetch_new(&(struct tile_fetch_config){
        .url = cfg->central, .insecure = central_is_loopback(cfg->central), .loop = n->fetch, .client = n->client});
    e->follow = follow_new(&(struct follow_config){
        .replica = e->replica, .want_list = want_list, .want_tiles = want_tiles, .restart = restart, .arg = e});
    tile_fetch_for(e->fetch, e->follow);
    *self = e;
    return 0;
}

static void stop(void *self) {
    struct replica_node *e = self;
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
    replica_stats(e->replica, &r);
    metric_set(page, METRIC_REPLICA_LIVE, s.live && s.state == FOLLOW_EQUAL);
    metric_set(page, METRIC_REPLICA_NUMBER, (double)s.place.number);
    metric_set(page, METRIC_REPLICA_LAG, s.heard_ms ? (double)(clock_mono_ms() - s.heard_ms) / 1000 : -1);
    metric_set(page, METRIC_REPLICA_RECORDS,
               (double)(r.records[RECORD_BLOB] + r.records[RECORD_MANIFEST] + r.records[RECORD_TAG]));
    metric_set(page, METRIC_REPLICA_BYTES, (double)r.bytes);
    metric_set(page, METRIC_REPLICA_ANSWERS, (double)atomic_load(&e->answers));
}

const struct node_part part_replica = {
    .name = "replica", .start = start, .stop = stop, .status = status, .doctor = status, .metrics = metrics};

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

void replica_answered(const struct node *n) {
    atomic_fetch_add_explicit(&((struct replica_node *)node_part(n, &part_replica))->answers, 1, memory_order_relaxed);
}
