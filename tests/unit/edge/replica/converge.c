/* Central's catalogue and an edge's replica in one process, with a link between them that is cut, slow and late, and
 * either side killed, restored from an older backup, or away for longer than the log goes back: at the end of each round
 * both say the same digest. Ordinary trouble is never repaired by luck: no digest may differ on the way. Then faults are
 * planted one by one, and each is noticed, and repaired.
 *
 * CONVERGE_ROUNDS=n runs so many rounds, CONVERGE_SEED=n begins with that seed; the seed of a round that fails is
 * printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalog/replica_reads.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/records/tile_body.h"
#include "edge/replica/follow.h"
#include "edge/replica/replica_file.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/nth_digest.h"

#define ROUNDS 2000
#define STEPS 40
#define THINGS 60 /* blobs, manifests and tags that there are at most, so that the same ones change again and again */
#define QUIET_MAX 400

enum fault { FAULT_NONE, FAULT_DROPPED, FAULT_REUSED_NUMBER, FAULT_STALE_TILE, FAULT_LOST_REMOVAL, FAULT_TWICE };

static struct lab {
    uint64_t seed;
    char dir[64], path[128];
    struct catalog *catalog;
    int64_t wall_s;
    bool has_backup;
    /* The link. */
    bool streams;
    uint64_t sent;
    struct buf wire; /* sent, not arrived */
    bool wants_list, wants_tiles, restart;
    unsigned tiles[FOLLOW_TILES_MAX];
    size_t n_tiles;
    bool full;
    enum fault fault;
    int planted;
    /* The edge. */
    struct replica *replica;
    struct follow *follow;
} lab;

/* xorshift64* */
static uint64_t next_random(void) {
    lab.seed ^= lab.seed >> 12;
    lab.seed ^= lab.seed << 25;
    lab.seed ^= lab.seed >> 27;
    return lab.seed * 2685821657736338717ULL;
}

static unsigned below(unsigned n) {
    return (unsigned)(next_random() >> 33) % n;
}

/* --- central --- */

static void open_catalog(void) {
    struct error err = {0};
    if (catalog_open(&lab.catalog, lab.path, 2, &err) < 0) fail_msg("%s", err.msg);
    catalog_bound(lab.catalog, 192 * KiB);
    catalog_keep_log(lab.catalog, 1100);
}

static void learn_manifest(unsigned n) {
    struct manifest_child children[4];
    struct manifest m = {.media_type = "application/vnd.oci.image.manifest.v1+json", .children = children};
    struct digest d = nth_digest(n);
    for (m.n_children = 0; m.n_children < 1 + n % 4; m.n_children++)
        children[m.n_children] = (struct manifest_child){
            .digest = nth_digest(n + 1 + (unsigned)m.n_children), .size = 10 * n, .kind = CHILD_LAYER};
    catalog_learn_manifest(lab.catalog, &d, m.media_type, 300 + n, &m);
}

static void learn_tag(void) {
    struct repo_name repo = {"docker.io", "library/app"};
    char tag[16];
    struct tag_facts t = {
        .digest = nth_digest(below(THINGS)), .size = 5, .checked_at = ++lab.wall_s, .media_type = "a/b"};
    if (below(2)) repo = (struct repo_name){"", "acme/app"};
    t.deleted = below(8) == 0;
    snprintf(tag, sizeof(tag), "v%u", below(THINGS));
    catalog_learn_tag(lab.catalog, &repo, tag, &t);
}

static void learn_something(void) {
    struct digest d = nth_digest(below(THINGS));
    switch (below(6)) {
    case 0:
        catalog_learn_blob(lab.catalog, &d, below(1000), below(2), NULL, 0);
        break;
    case 1:
        catalog_blob_lost(lab.catalog, &d);
        break;
    case 2:
        learn_manifest(below(THINGS));
        break;
    case 3: /* many, that are forgotten again when there is no room */
        for (unsigned i = 0; i < 40; i++) {
            struct digest more = nth_digest(1000 + below(100000));
            catalog_learn_blob(lab.catalog, &more, i, false, NULL, 0);
        }
        break;
    default:
        learn_tag();
    }
}

static void copy(const char *from, const char *to) {
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s/%s' && mkdir '%s/%s' && cp '%s/%s'/* '%s/%s'/", lab.dir, to, lab.dir,
             to, lab.dir, from, lab.dir, to);
    assert_int_equal(system(command), 0);
}

/* --- the link --- */

static void cut(void) {
    if (lab.streams) follow_end(lab.follow);
    lab.streams = lab.restart = false;
    buf_clear(&lab.wire);
}

/* A stream, or a poll, begins. */
static void ask_for_changes(void) {
    char from[PLACE_TEXT_MAX];
    struct place p, now;
    bool knows = false;
    follow_from(lab.follow, from);
    follow_begin(lab.follow, 77);
    if (place_parse(from, &p) == 0)
        assert_int_equal(catalog_knows_place(lab.catalog, &p, &knows, &now), 0);
    else
        assert_int_equal(catalog_place(lab.catalog, &now), 0);
    struct watch_message hello = {.version = WATCH_VERSION,
                                  .has_place = true,
                                  .place = knows ? p : now,
                                  .gone = !knows,
                                  .upto = now.number,
                                  .now_s = lab.wall_s};
    assert_int_equal(watch_message_add(&lab.wire, &hello), 0);
    lab.sent = hello.place.number;
    lab.streams = true;
}

static void connect_edge(void) {
    cut();
    ask_for_changes();
}

static bool plant(enum fault fault) {
    if (lab.fault != fault || lab.planted) return false;
    lab.planted++;
    return true;
}

/* One message of the log, perhaps with a fault. */
static void send_message(const char *bytes, size_t len) {
    struct watch_message m = {0};
    size_t at, n;
    assert_int_equal(message_next(bytes, len, WATCH_MESSAGE_MAX, &at, &n), 0);
    assert_int_equal(watch_message_decode(&m, bytes + at, n), 0);
    struct follow_stats s;
    follow_stats(lab.follow, &s);
    bool equal = s.state == FOLLOW_EQUAL && m.n_changes == 1 && s.live;
    if (equal && !m.changes[0].removed && plant(FAULT_DROPPED)) {
        m.n_changes = 0;
    } else if (equal && m.changes[0].removed && plant(FAULT_LOST_REMOVAL)) {
        m.n_changes = 0;
    } else if (equal && plant(FAULT_REUSED_NUMBER)) {
        m.changes[0].number = s.place.number;
    } else if (equal && plant(FAULT_TWICE)) {
        assert_int_equal(watch_message_add(&lab.wire, &m), 0);
    }
    assert_int_equal(watch_message_add(&lab.wire, &m), 0);
    watch_message_fini(&m);
}

static void send_log(size_t max) {
    struct buf log;
    uint64_t last = lab.sent;
    buf_init(&log, 0);
    int r = lab.streams ? catalog_changes_after(lab.catalog, lab.sent, max, MiB, &log, &last) : 0;
    if (r == ERR_NOT_FOUND) { /* cut while the edge was slow */
        connect_edge();
        return;
    }
    assert_int_equal(r, 0);
    for (size_t used = 0, at, n; used < log.len; used += at + n) {
        assert_int_equal(message_next(log.data + used, log.len - used, WATCH_MESSAGE_MAX, &at, &n), 0);
        send_message(log.data + used, at + n);
    }
    lab.sent = last;
    buf_fini(&log);
}

static void arrive(size_t len) {
    if (!lab.streams) return;
    if (len > lab.wire.len) len = lab.wire.len;
    if (len) follow_data(lab.follow, lab.wire.data, len);
    if (!lab.streams || !len) return;
    memmove(lab.wire.data, lab.wire.data + len, lab.wire.len - len);
    lab.wire.len -= len;
}

/* The poll has ended as it should. */
static void next_poll(void) {
    arrive(SIZE_MAX);
    if (!lab.streams || lab.restart) return;
    follow_pause(lab.follow);
    ask_for_changes();
}

static void want_list(void *arg) {
    (void)arg;
    assert_false(lab.wants_list || lab.wants_tiles);
    lab.wants_list = true;
}

static void want_tiles(const unsigned *tiles, size_t n, bool full, void *arg) {
    (void)arg;
    lab.full = full;
    assert_false(lab.wants_list || lab.wants_tiles);
    assert_in_range(n, 1, FOLLOW_TILES_MAX);
    lab.wants_tiles = true;
    lab.n_tiles = n;
    memcpy(lab.tiles, tiles, n * sizeof(*tiles));
}

static void restart(void *arg) {
    (void)arg;
    lab.restart = true;
}

static bool wants(unsigned tile, const struct place *of, void *arg) {
    (void)tile, (void)of, (void)arg;
    return true;
}

static bool send_tile(unsigned tile, const struct place *of, const struct tile_records *records,
                      const struct record_blobs *blobs, void *arg) {
    struct buf body, message;
    size_t at, n;
    (void)arg;
    buf_init(&body, 0);
    buf_init(&message, 0);
    if (records->n > 0 && plant(FAULT_STALE_TILE)) { /* what it once was, said to be what it is */
        struct tile_records none;
        tile_records_init(&none, records->kind);
        assert_int_equal(tile_body_pack(&none, NULL, &body), 0);
        tile_records_fini(&none);
    } else {
        assert_int_equal(tile_body_pack(records, lab.full ? NULL : blobs, &body), 0);
    }
    struct tile_message m = {.tile = tile, .place = *of, .body = (uint8_t *)body.data, .body_len = body.len};
    assert_int_equal(tile_message_add(&message, &m), 0);
    assert_int_equal(message_next(message.data, message.len, TILE_MESSAGE_MAX, &at, &n), 0);
    follow_tile(lab.follow, message.data + at, n);
    buf_fini(&body);
    buf_fini(&message);
    return below(20) != 0; /* the rest is left for the next request */
}

/* Answers what was asked for, or says that it could not be had. */
static void answer(bool good) {
    if (lab.wants_list) {
        struct tile_list list = {0};
        uint8_t *data = NULL;
        size_t len = 0;
        lab.wants_list = false;
        if (good) {
            assert_int_equal(catalog_tiles(lab.catalog, &list), 0);
            assert_int_equal(tile_list_encode(&list, &data, &len), 0);
        }
        follow_list(lab.follow, data, len);
        free(data);
        tile_list_fini(&list);
    } else if (lab.wants_tiles) {
        const struct tile_reader reader = {.wants = wants, .tile = send_tile};
        lab.wants_tiles = false;
        if (good) assert_int_equal(catalog_read_tiles(lab.catalog, lab.tiles, lab.n_tiles, &reader), 0);
        follow_fetched(lab.follow, good);
    }
}

/* --- kills --- */

/* Stores the replica as a running edge does now and then. */
static void save(void) {
    struct place p;
    struct error err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/replica", lab.dir);
    if (!lab.follow || !follow_place(lab.follow, &p)) return;
    struct replica_view *v = replica_view_new(lab.replica);
    assert_int_equal(replica_save(v, &p, path, &err), 0);
    replica_view_free(v);
}

/* The edge was killed, and has what it stored last. */
static void new_edge(void) {
    char path[128];
    struct place p;
    snprintf(path, sizeof(path), "%s/replica", lab.dir);
    cut();
    follow_free(lab.follow);
    replica_free(lab.replica);
    lab.wants_list = lab.wants_tiles = false;
    lab.replica = replica_new(0);
    lab.follow = follow_new(&(struct follow_config){
        .replica = lab.replica, .want_list = want_list, .want_tiles = want_tiles, .restart = restart});
    if (replica_load(lab.replica, path, &p)) follow_resume(lab.follow, &p);
}

static void restart_central(bool restored) {
    cut();
    answer(false);
    catalog_close(lab.catalog);
    if (restored && lab.has_backup) {
        copy("backup", "now");
    } else if (!lab.has_backup || below(3) == 0) {
        copy("now", "backup");
        lab.has_backup = true;
    }
    open_catalog();
}

static void step(void) {
    switch (below(24)) {
    case 0:
        cut();
        break;
    case 1:
        if (below(2)) save();
        new_edge();
        break;
    case 2:
        restart_central(false);
        break;
    case 3:
        restart_central(true);
        break;
    case 4:
        connect_edge();
        break;
    case 5:
        next_poll();
        break;
    case 6:
        answer(false);
        break;
    case 7:
    case 8:
    case 9:
        answer(true);
        break;
    case 10:
        save();
        follow_again(lab.follow);
        break;
    case 11:
    case 12:
        catalog_flush(lab.catalog);
        send_log(1 + below(8));
        break;
    case 13:
        catalog_flush(lab.catalog);
        send_log(10000);
        break;
    case 14:
    case 15:
    case 16:
        arrive(1 + below(300));
        break;
    case 17:
        arrive(SIZE_MAX);
        break;
    default:
        learn_something();
    }
    if (lab.restart) connect_edge();
}

/* --- the end of a round --- */

static bool is_equal(void) {
    struct place p;
    struct set_digest ours;
    struct follow_stats s;
    assert_int_equal(catalog_place(lab.catalog, &p), 0);
    replica_digest(lab.replica, &ours);
    follow_stats(lab.follow, &s);
    return s.state == FOLLOW_EQUAL && s.live && s.place.number == p.number && set_digest_eq(&ours, &p.digest);
}

static void settle(void) {
    for (int i = 0; i < QUIET_MAX; i++) {
        catalog_flush(lab.catalog);
        if (!lab.streams || lab.restart) connect_edge();
        send_log(10000);
        arrive(SIZE_MAX);
        answer(true);
        follow_again(lab.follow);
        arrive(SIZE_MAX);
        if (is_equal()) return;
    }
    struct follow_stats s;
    struct place p;
    struct set_digest ours;
    follow_stats(lab.follow, &s);
    replica_digest(lab.replica, &ours);
    assert_int_equal(catalog_place(lab.catalog, &p), 0);
    fail_msg("%s, live %d, at %llu of %llu, digests are %s, %lld tiles wanted", follow_state_name(s.state), s.live,
             (unsigned long long)s.place.number, (unsigned long long)p.number,
             set_digest_eq(&ours, &p.digest) ? "the same" : "different", (long long)s.tiles_wanted);
}

static int64_t mismatches(void) {
    struct follow_stats s;
    follow_stats(lab.follow, &s);
    return s.mismatches;
}

static void begin(uint64_t seed) {
    char now[96];
    memset(&lab, 0, sizeof(lab));
    lab.seed = seed * 0x9e3779b97f4a7c15ULL + 1;
    lab.wall_s = 1700000000;
    snprintf(lab.dir, sizeof(lab.dir), "/dev/shm/converge-XXXXXX");
    assert_non_null(mkdtemp(lab.dir));
    snprintf(now, sizeof(now), "%s/now", lab.dir);
    snprintf(lab.path, sizeof(lab.path), "%s/catalog.db", now);
    assert_int_equal(dir_make_all(now, 0700, NULL), 0);
    buf_init(&lab.wire, 0);
    open_catalog();
    new_edge();
}

static void end(void) {
    cut();
    follow_free(lab.follow);
    replica_free(lab.replica);
    catalog_close(lab.catalog);
    buf_fini(&lab.wire);
    folder_remove(lab.dir);
}

static uint64_t number_of(const char *name, uint64_t otherwise) {
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 10) : otherwise;
}

static void a_stored_replica_comes_back_and_a_damaged_one_does_not(void **state) {
    (void)state;
    struct place p, back;
    struct set_digest ours;
    struct error err = {0};
    char path[128], *data;
    size_t len;
    begin(1);
    for (int i = 0; i < 50; i++)
        learn_something();
    settle();
    assert_true(follow_place(lab.follow, &p));
    save();
    snprintf(path, sizeof(path), "%s/replica", lab.dir);
    assert_int_equal(file_read_all(path, MiB, &data, &len, &err), 0);
    new_edge();
    replica_digest(lab.replica, &ours);
    assert_true(set_digest_eq(&ours, &p.digest));
    assert_true(follow_place(lab.follow, &back) && back.number == p.number);
    for (size_t i = 0; i < len; i += 1 + len / 97) { /* any byte, and any length */
        data[i] = (char)(data[i] ^ 1);
        assert_int_equal(file_write_atomic(path, 0600, data, len, &err), 0);
        data[i] = (char)(data[i] ^ 1);
        new_edge();
        assert_false(follow_place(lab.follow, &back));
        assert_int_equal(file_write_atomic(path, 0600, data, i, &err), 0);
        new_edge();
        assert_false(follow_place(lab.follow, &back));
    }
    free(data);
    settle();
    end();
}

/* Hands the edge one message, or what is none. */
static void hand(const struct watch_message *m, const char *more) {
    struct buf b;
    buf_init(&b, 0);
    if (m) assert_int_equal(watch_message_add(&b, m), 0);
    assert_int_equal(buf_add(&b, more, strlen(more)), 0);
    follow_data(lab.follow, b.data, b.len);
    buf_fini(&b);
}

static void a_stream_that_cannot_be_read_is_left_at_once(void **state) {
    (void)state;
    const struct watch_message absurd[] = {{.now_s = -1}, {.now_s = INT64_MAX}, {.version = WATCH_VERSION + 1}};
    struct follow_stats s;
    for (unsigned i = 0; i < 2 + ARRAY_LEN(absurd); i++) {
        begin(7 + i);
        for (int k = 0; k < 20; k++)
            learn_something();
        settle();
        follow_stats(lab.follow, &s);
        assert_true(s.live);
        lab.restart = false;
        hand(i < ARRAY_LEN(absurd) ? &absurd[i] : NULL, i == 3 ? "\377\377\377\377\377\377" : i == 4 ? "\004!!!!" : "");
        assert_true(lab.restart);
        follow_stats(lab.follow, &s);
        assert_false(s.live); /* fresh tags are asked for at central */
        assert_int_equal(s.unreadable, 1);
        lab.restart = false;
        hand(NULL, "\004!!!!"); /* more of it changes nothing */
        assert_false(lab.restart);
        connect_edge();
        settle();
        assert_int_equal(mismatches(), 0);
        end();
    }
}

static void tags_come_first_and_with_whole_names_where_no_blob_is_known(void **state) {
    (void)state;
    begin(3);
    for (int i = 0; i < 50; i++)
        learn_something();
    catalog_flush(lab.catalog);
    new_edge();
    connect_edge();
    arrive(SIZE_MAX);
    assert_true(lab.wants_list);
    answer(true);
    assert_true(lab.wants_tiles && lab.full);
    assert_int_equal(tile_kind(lab.tiles[0]), RECORD_TAG);
    settle();
    end();
}

/* One life of both sides, of many rounds. */
static void both_sides_end_equal_whatever_happens_to_the_link_and_to_them(void **state) {
    (void)state;
    uint64_t rounds = number_of("CONVERGE_ROUNDS", ROUNDS), seed = number_of("CONVERGE_SEED", 1);
    for (uint64_t round = 0; round < rounds; round++) {
        if (round % 20 == 0) begin(seed + round);
        print_message("seed %llu\n", (unsigned long long)(seed + round));
        for (int i = 0; i < STEPS; i++)
            step();
        settle();
        assert_int_equal(mismatches(), 0);
        if (round % 20 == 19 || round + 1 == rounds) end();
    }
}

static void fault_is_noticed_and_repaired(enum fault fault, bool differs) {
    for (uint64_t seed = 1000; seed < 1050; seed++) {
        begin(seed);
        lab.fault = fault;
        for (int i = 0; i < 60 && !lab.planted; i++) {
            for (int k = 0; k < 5; k++)
                learn_something();
            settle();
        }
        bool planted = lab.planted > 0;
        learn_something();
        settle();
        int64_t found = mismatches();
        end();
        if (!planted) continue;
        assert_int_equal(found > 0, differs);
        return;
    }
    fail_msg("the fault was never planted");
}

static void a_dropped_change_is_noticed(void **state) {
    (void)state;
    fault_is_noticed_and_repaired(FAULT_DROPPED, true);
}

static void a_reused_number_is_noticed(void **state) {
    (void)state;
    fault_is_noticed_and_repaired(FAULT_REUSED_NUMBER, true);
}

static void a_stale_tile_is_noticed(void **state) {
    (void)state;
    fault_is_noticed_and_repaired(FAULT_STALE_TILE, true);
}

static void a_lost_removal_is_noticed(void **state) {
    (void)state;
    fault_is_noticed_and_repaired(FAULT_LOST_REMOVAL, true);
}

static void a_change_that_comes_twice_does_no_harm(void **state) {
    (void)state;
    fault_is_noticed_and_repaired(FAULT_TWICE, false);
}

int main(void) {
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "converge");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stored_replica_comes_back_and_a_damaged_one_does_not),
        cmocka_unit_test(a_stream_that_cannot_be_read_is_left_at_once),
        cmocka_unit_test(tags_come_first_and_with_whole_names_where_no_blob_is_known),
        cmocka_unit_test(both_sides_end_equal_whatever_happens_to_the_link_and_to_them),
        cmocka_unit_test(a_dropped_change_is_noticed),
        cmocka_unit_test(a_reused_number_is_noticed),
        cmocka_unit_test(a_stale_tile_is_noticed),
        cmocka_unit_test(a_lost_removal_is_noticed),
        cmocka_unit_test(a_change_that_comes_twice_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
