/* What the catalogue costs at scale, in one process: `catalogue FOLDER BLOBS MANIFESTS TAGS CHILDREN` fills catalog.db,
 * then reads and packs all tiles as central does, unpacks and applies them as an edge does, looks records up, stores the
 * replica and loads it. Prints one line of JSON.
 * `catalogue fill FOLDER …` fills it with blobs that are not held, and that is all. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "central/catalog/replica_reads.h"
#include "common/core/log.h"
#include "common/db/db.h"
#include "common/records/tile_body.h"
#include "edge/replica/replica_file.h"

static uint64_t seed = 88172645463325252ULL;

static uint64_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Processor time, so that what else runs on the machine does not count. All is done by one thread. */
static int64_t cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct digest blob(int64_t n) {
    struct digest d;
    digest_of(&d, DIGEST_SHA256, &n, sizeof(n));
    return d;
}

/* Sizes of layers: as likely between 1 and 2 KiB as between 256 and 512 MiB. */
static int64_t size_of(int64_t n) {
    struct digest d = blob(n);
    uint64_t random;
    memcpy(&random, d.bytes + 24, sizeof(random));
    unsigned bits = 10 + (unsigned)(random >> 33) % 19;
    return (int64_t)(1ULL << bits | (random & ((1ULL << bits) - 1)));
}

static void must(int rc, sqlite3 *db) {
    if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) return;
    fprintf(stderr, "%s\n", sqlite3_errmsg(db));
    exit(1);
}

static void step(sqlite3_stmt *st, sqlite3 *db) {
    must(sqlite3_step(st), db);
    sqlite3_reset(st);
}

/* The rows themselves: learning a million facts one by one is measured nowhere here. The digests are counted when the
 * catalogue is opened next. */
static void fill_all(const char *path, bool held, int64_t blobs, int64_t manifests, int64_t tags, int64_t children) {
    struct catalog *c;
    sqlite3 *db;
    sqlite3_stmt *b, *m, *k, *t;
    if (catalog_open(&c, path, 1, NULL) < 0) exit(1);
    catalog_close(c);
    if (db_open(&db, path, SQLITE_OPEN_READWRITE, NULL) < 0) exit(1);
    must(sqlite3_exec(db, "BEGIN; DELETE FROM place", NULL, NULL, NULL), db);
    must(sqlite3_prepare_v2(db, "INSERT OR IGNORE INTO blobs VALUES(?, ?, ?, ?)", -1, &b, NULL), db);
    must(sqlite3_prepare_v2(db, "INSERT INTO manifests VALUES(?, ?, ?)", -1, &m, NULL), db);
    must(sqlite3_prepare_v2(db, "INSERT INTO children VALUES(?, ?, ?, ?, ?, 0, '', '', '')", -1, &k, NULL), db);
    must(sqlite3_prepare_v2(db, "INSERT INTO tags VALUES(?, ?, ?, ?, ?, 1700000000, 0, 0)", -1, &t, NULL), db);
    static const char type[] = "application/vnd.oci.image.manifest.v1+json";
    for (int64_t i = 0; i < blobs; i++) {
        struct digest d = blob(i);
        db_bind_digest(b, 1, &d);
        sqlite3_bind_int64(b, 2, i < manifests ? 500 + i % 3000 : size_of(i));
        sqlite3_bind_int(b, 3, held);
        sqlite3_bind_int64(b, 4, i);
        step(b, db);
    }
    for (int64_t i = 0; i < manifests; i++) {
        struct digest d = blob(i);
        db_bind_digest(m, 1, &d);
        sqlite3_bind_text(m, 2, type, -1, SQLITE_STATIC);
        sqlite3_bind_int64(m, 3, 500 + i % 3000);
        step(m, db);
        for (int64_t n = 0; n < children; n++) {
            int64_t number = manifests + (int64_t)(next_random() >> 8) % (blobs - manifests);
            struct digest child = blob(number);
            db_bind_digest(k, 1, &d);
            sqlite3_bind_int64(k, 2, n);
            db_bind_digest(k, 3, &child);
            sqlite3_bind_int64(k, 4, size_of(number));
            sqlite3_bind_int(k, 5, n ? CHILD_LAYER : CHILD_CONFIG);
            step(k, db);
        }
    }
    for (int64_t i = 0; i < tags; i++) {
        char repo[64], tag[32];
        struct digest d = blob(i % manifests);
        snprintf(repo, sizeof(repo), "docker.io/team-%" PRId64 "/service-%" PRId64, i / 200, i / 10);
        snprintf(tag, sizeof(tag), "v1.%" PRId64, i % 10);
        sqlite3_bind_text(t, 1, repo, -1, SQLITE_STATIC);
        sqlite3_bind_text(t, 2, tag, -1, SQLITE_STATIC);
        db_bind_digest(t, 3, &d);
        sqlite3_bind_int64(t, 4, 1000);
        sqlite3_bind_text(t, 5, type, -1, SQLITE_STATIC);
        step(t, db);
    }
    must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), db);
    sqlite3_finalize(b);
    sqlite3_finalize(m);
    sqlite3_finalize(k);
    sqlite3_finalize(t);
    sqlite3_close(db);
}

struct snapshot {
    struct replica *replica;
    int64_t bytes[RECORD_KINDS], make_us, apply_us, began_us;
};

static bool wants(unsigned tile, const struct place *of, void *arg) {
    (void)tile, (void)of, (void)arg;
    return true;
}

static bool take(unsigned tile, const struct place *of, const struct tile_records *records,
                 const struct record_blobs *blobs, void *arg) {
    struct snapshot *s = arg;
    struct buf body;
    struct tile_records back;
    struct set_digest got;
    buf_init(&body, GiB);
    if (tile_body_pack(records, blobs, &body) < 0) exit(1);
    int64_t packed = cpu_us();
    s->make_us += packed - s->began_us;
    s->bytes[records->kind] += (int64_t)body.len + 45; /* with the frame and the place of its message */
    const struct record_names names = {.blob = replica_named, .arg = s->replica};
    tile_records_init(&back, records->kind);
    if (tile_body_unpack(tile, body.data, body.len, &names, &back) < 0) exit(1);
    if (replica_set_tile(s->replica, tile, &back) < 0) exit(1);
    replica_tile_digest(s->replica, tile, &got);
    if (!set_digest_eq(&got, &of->digest)) exit(1);
    tile_records_fini(&back);
    buf_fini(&body);
    s->began_us = cpu_us();
    s->apply_us += s->began_us - packed;
    return true;
}

static void fetch_all(struct catalog *c, struct snapshot *s) {
    const struct tile_reader reader = {.wants = wants, .tile = take, .arg = s};
    for (unsigned i = 0; i < TILES; i += CATALOG_TILES_MAX) {
        unsigned some[CATALOG_TILES_MAX], n = 0;
        for (; n < CATALOG_TILES_MAX && i + n < TILES; n++)
            some[n] = i + n;
        s->began_us = cpu_us();
        if (catalog_read_tiles(c, some, n, &reader) < 0) exit(1);
    }
}

static double lookup_ns(const struct replica *r, int64_t blobs) {
    enum { MANY = 1000000, KINDS = 4096 };
    static struct digest some[KINDS];
    int64_t size, found = 0;
    for (int i = 0; i < KINDS; i++)
        some[i] = blob((int64_t)(next_random() >> 8) % blobs);
    int64_t began = cpu_us();
    for (int i = 0; i < MANY; i++)
        found += replica_blob(r, &some[i % KINDS], &size);
    if (found != MANY) exit(1);
    return (double)(cpu_us() - began) * 1000 / MANY;
}

int main(int argc, char **argv) {
    bool alone = argc == 7 && strcmp(argv[1], "fill") == 0;
    if (argc != 6 && !alone) return 2;
    if (alone) argv++;
    char path[512], file[512];
    int64_t blobs = atoll(argv[2]), manifests = atoll(argv[3]), tags = atoll(argv[4]), children = atoll(argv[5]);
    struct catalog *c;
    struct place p;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "catalogue");
    snprintf(path, sizeof(path), "%s/catalog.db", argv[1]);
    snprintf(file, sizeof(file), "%s/replica", argv[1]);
    fill_all(path, !alone, blobs, manifests, tags, children);
    if (alone) return 0;
    int64_t began = cpu_us();
    if (catalog_open(&c, path, 1, NULL) < 0 || catalog_place(c, &p) < 0) return 1;
    int64_t counted_us = cpu_us() - began;
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct snapshot s = {.replica = replica_new(0)};
    replica_set_epoch(s.replica, p.epoch);
    fetch_all(c, &s);
    size_t memory = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    double ns = lookup_ns(s.replica, blobs);
    began = cpu_us();
    struct replica_view *v = replica_view_new(s.replica);
    replica_digest(s.replica, &p.digest);
    if (replica_save(v, &p, file, NULL) < 0) return 1;
    replica_view_free(v);
    int64_t saved_us = cpu_us() - began;
    replica_free(s.replica);
    struct replica *again = replica_new(0);
    began = cpu_us();
    if (!replica_load(again, file, &p)) return 1;
    int64_t loaded_us = cpu_us() - began;
    printf("{\"count_s\": %.3f, \"make_s\": %.3f, \"apply_s\": %.3f, \"blob_bytes\": %.2f, \"all_bytes\": %.2f, "
           "\"memory_bytes\": %.1f, \"lookup_ns\": %.0f, \"save_s\": %.3f, \"load_s\": %.3f}\n",
           (double)counted_us / 1e6, (double)s.make_us / 1e6, (double)s.apply_us / 1e6,
           (double)s.bytes[RECORD_BLOB] / (double)blobs,
           (double)(s.bytes[RECORD_BLOB] + s.bytes[RECORD_MANIFEST] + s.bytes[RECORD_TAG]) / (double)blobs,
           (double)memory / (double)blobs, ns, (double)saved_us / 1e6, (double)loaded_us / 1e6);
    replica_free(again);
    catalog_close(c);
    return 0;
}
