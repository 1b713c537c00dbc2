/* Connects the modules of one edge, and counts what it sees. Thread: the simulator's loop. */
#include "tests/sim/edge.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/wire/edge_report.h"
#include "common/wire/fleet_message.h"
#include "common/wire/wire.h"
#include "edge/pull/confirm.h"
#include "edge/replica/fetch.h"
#include "tests/sim/post.h"

#include <openssl/rand.h>
#include <stdlib.h>

struct sim_edge {
    struct sim_edges *all;
    struct uplink *uplink;
    struct http_client *client;
    struct confirm *confirm;
    struct replica *replica;
    struct follow *follow;
    struct tile_fetch *fetch;
    struct fake_disk *disk;
    struct post settings, state, lookup, beat;
    struct timer beat_due;
    uint64_t state_version, state_wanted; /* of the fleet's state: had, and told by central */
    bool up, saw;
};

/* --- requests --- */

static void ask(struct sim_edge *e, struct post *p, const char *method, const char *path, const void *body,
                size_t len) {
    bool in_turn = p == &e->settings || p == &e->state;
    post_send(p, e->client, &(struct post_order){method, path, body, len, e->uplink, NULL, in_turn});
}

static void send_lookup(struct sim_edge *e, struct post *p, const char *path, uint64_t settings,
                        struct wire_query *queries, size_t n) {
    struct wire_request rq = {
        .version = WIRE_VERSION, .settings_version = settings, .queries = queries, .n_queries = n};
    uint8_t *data;
    size_t len;
    if (wire_request_encode(&rq, &data, &len, NULL) < 0) abort();
    ask(e, p, "POST", path, data, len);
    free(data);
}

static void ask_settings(void *arg) {
    struct sim_edge *e = arg;
    if (!e->settings.call) send_lookup(e, &e->settings, WIRE_SETTINGS_PATH, 0, NULL, 0);
}

static void on_settings(struct post *p, bool good) {
    struct sim_edge *e = p->arg;
    struct wire_response rs = {0};
    good = good && wire_response_decode(&rs, p->answer.data, p->answer.len, NULL) == 0 && rs.settings;
    if (good && rs.settings->version != settings_version(e->all->settings))
        settings_apply(e->all->settings, rs.settings);
    wire_response_fini(&rs);
    confirm_told(e->confirm, good);
}

static void on_state(struct post *p, bool good) {
    struct sim_edge *e = p->arg;
    if (good) e->state_version = e->state_wanted;
}

static void told_of_state(uint64_t version, void *arg) {
    struct sim_edge *e = arg;
    if (version == e->state_version || e->state.call) return;
    e->state_wanted = version;
    ask(e, &e->state, "GET", WIRE_STATE_PATH, NULL, 0);
}

void sim_edge_lookup(struct sim_edge *e) {
    struct wire_query q = {.kind = WIRE_QUERY_BLOB, .digest = {.alg = DIGEST_SHA256}};
    if (!e->up || e->lookup.call) return;
    if (RAND_bytes(q.digest.bytes, 32) != 1) abort();
    send_lookup(e, &e->lookup, WIRE_LOOKUP_PATH, settings_version(e->all->settings), &q, 1);
}

static void on_lookup(struct post *p, bool good) {
    struct sim_edge *e = p->arg;
    if (good)
        spread_add(&e->all->lookups, clock_mono_us() - p->began_us);
    else
        e->all->lookups_failed++;
}

/* --- heartbeats --- */

/* Until the next report where there is more to say than fits into one, as of an edge. */
#define SOON_MS 150

/* What an edge says that serves nobody. */
static void send_report(struct sim_edge *e) {
    struct follow_stats s;
    uint8_t *data;
    size_t len;
    follow_stats(e->follow, &s);
    struct wire_report m = {.version = WIRE_VERSION,
                            .has_heartbeat = true,
                            .heartbeat = {.disk_limit = GiB,
                                          .disk_free = GiB,
                                          .replica_equal = e->up,
                                          .replica_number = s.place.number,
                                          .replica_heard_ms = clock_mono_ms() - s.heard_ms,
                                          .registry_port = 5000}};
    fake_disk_tell(e->disk, &m);
    if (wire_report_encode(&m, &data, &len) < 0) abort();
    ask(e, &e->beat, "POST", WIRE_REPORT_PATH, data, len);
    wire_report_fini(&m);
    free(data);
}

static void on_beat_due(void *arg) {
    struct sim_edge *e = arg;
    if (e->all->beat_ms) timer_set(&e->beat_due, e->all->beat_ms);
    if (!e->all->beat_ms || e->beat.call) return;
    if (e->up)
        send_report(e);
    else
        fake_disk_wait(e->disk);
}

static void on_beat(struct post *p, bool good) {
    struct sim_edge *e = p->arg;
    struct wire_report_response rs;
    good = good && wire_report_response_decode(&rs, p->answer.data, p->answer.len) == 0;
    fake_disk_answered(e->disk, good ? &rs : NULL);
    e->all->beats++;
    e->all->beats_failed += !good;
    bool soon = good && rs.holdings != WIRE_HOLDINGS_NOT_TAKEN && fake_disk_has_more(e->disk);
    if (soon && e->all->beat_ms > SOON_MS) timer_set(&e->beat_due, SOON_MS);
}

bool sim_edge_has_told(const struct sim_edge *e) {
    return !fake_disk_has_more(e->disk);
}

/* --- what is seen --- */

static void look_for_change(struct sim_edge *e) {
    struct sim_change *c = &e->all->change;
    struct tag_facts t = {0};
    if (!c->wanted || e->saw || !e->up) return;
    if (!follow_tag(e->follow, settings_version(e->all->settings), &c->repo, c->tag, &t)) return;
    if (!digest_eq(&t.digest, &c->digest)) return;
    e->saw = true;
    c->seen++;
    spread_add(&e->all->sights, clock_mono_us() - c->began_us);
}

bool sim_edge_look(struct sim_edge *e) {
    struct follow_stats s;
    follow_stats(e->follow, &s);
    bool up = s.live && s.state == FOLLOW_EQUAL;
    if (up && !e->up) {
        e->all->up++;
        spread_add(&e->all->returns, clock_mono_us());
    } else if (!up && e->up) {
        e->all->up--;
    }
    e->up = up;
    look_for_change(e);
    return up;
}

void sim_edge_told(struct sim_edge *e) {
    e->saw = false;
    if (e->all->beat_ms)
        timer_set(&e->beat_due, rand() % e->all->beat_ms);
    else
        timer_clear(&e->beat_due);
}

/* --- the stream --- */

static void from(char out[PLACE_TEXT_MAX], void *arg) {
    follow_from(((struct sim_edge *)arg)->follow, out);
}

static void stream_began(uint64_t settings, void *arg) {
    follow_begin(((struct sim_edge *)arg)->follow, settings);
}

static void stream_data(const void *data, size_t len, void *arg) {
    struct sim_edge *e = arg;
    e->all->stream_bytes += (int64_t)len;
    follow_data(e->follow, data, len);
    sim_edge_look(e);
}

static void stream_paused(void *arg) {
    follow_pause(((struct sim_edge *)arg)->follow);
}

static void stream_ended(void *arg) {
    struct sim_edge *e = arg;
    e->all->lost++;
    spread_add(&e->all->losses, clock_mono_us());
    follow_end(e->follow);
    sim_edge_look(e);
}

static void found(void *arg) {
    (void)arg;
}

static void refused(const char *why, void *arg) {
    (void)why, (void)arg;
}

static void restart(void *arg) {
    confirm_restart(((struct sim_edge *)arg)->confirm);
}

static void want_list(void *arg) {
    tile_fetch_list(((struct sim_edge *)arg)->fetch);
}

static void want_tiles(const unsigned *tiles, size_t n, bool full, void *arg) {
    tile_fetch_tiles(tiles, n, full, ((struct sim_edge *)arg)->fetch);
}

/* --- life --- */

static void make_follower(struct sim_edge *e) {
    e->replica = replica_new(0);
    e->fetch =
        tile_fetch_new(&(struct tile_fetch_config){.uplink = e->uplink, .loop = e->all->loop, .client = e->client});
    e->follow = follow_new(&(struct follow_config){.replica = e->replica,
                                                   .want_list = want_list,
                                                   .want_tiles = want_tiles,
                                                   .restart = restart,
                                                   .fleet = told_of_state,
                                                   .arg = e});
    tile_fetch_for(e->fetch, e->follow);
    e->confirm = confirm_new(&(struct confirm_config){.uplink = e->uplink,
                                                      .loop = e->all->loop,
                                                      .client = e->client,
                                                      .settings = e->all->settings,
                                                      .ask = ask_settings,
                                                      .from = from,
                                                      .stream_began = stream_began,
                                                      .stream_data = stream_data,
                                                      .stream_paused = stream_paused,
                                                      .stream_ended = stream_ended,
                                                      .found = found,
                                                      .refused = refused,
                                                      .arg = e});
}

struct sim_edge *sim_edge_new(struct sim_edges *all, struct uplink *uplink) {
    struct sim_edge *e = xcalloc(1, sizeof(*e));
    e->all = all;
    e->uplink = uplink;
    e->client = http_client_new(all->loop);
    post_init(&e->settings, on_settings, e);
    post_init(&e->state, on_state, e);
    post_init(&e->lookup, on_lookup, e);
    post_init(&e->beat, on_beat, e);
    timer_init(&e->beat_due, all->loop, on_beat_due, e);
    e->disk = fake_disk_new(&all->disks);
    make_follower(e);
    sim_edge_told(e);
    confirm_begin(e->confirm);
    return e;
}

void sim_edge_free(struct sim_edge *e) {
    if (!e) return;
    confirm_free(e->confirm);
    tile_fetch_free(e->fetch);
    follow_free(e->follow);
    replica_free(e->replica);
    timer_fini(&e->beat_due);
    post_fini(&e->settings);
    post_fini(&e->state);
    post_fini(&e->lookup);
    post_fini(&e->beat);
    http_client_free(e->client);
    fake_disk_free(e->disk);
    free(e);
}
