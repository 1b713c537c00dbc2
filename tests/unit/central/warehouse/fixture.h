/* What the warehouse's tests share: a store with its record of what is hosted, a catalogue, and an image of three
 * blobs. */
#ifndef ENTREPOT_TESTS_WAREHOUSE_FIXTURE_H
#define ENTREPOT_TESTS_WAREHOUSE_FIXTURE_H

#include "tests/unit/common/store/fixture.h"

#include "central/warehouse/hosted_restore.h"
#include "central/warehouse/takeover.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[256];
static struct store *store;
static struct hosted *record;
static struct catalog *catalog;
static struct content *door;
static struct name_rules rules = {.upstreams = (const char *const[]){"docker.io"},
                                  .n_upstreams = 1,
                                  .default_upstream = "docker.io",
                                  .hosted = (const char *const[]){"acme/**"},
                                  .n_hosted = 1};

static inline void open_store(void) {
    struct error err = {0};
    struct store_config cfg = {.dir = dir, .guard = &hosted_guard};
    if (store_open(&store, &cfg, &err) < 0) fail_msg("%s", err.msg);
    record = hosted_of(store);
}

/* As central's start does. */
static inline void open_all(void) {
    char path[300];
    struct error err = {0};
    open_store();
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    if (catalog_open(&catalog, path, 1, &err) < 0) fail_msg("%s", err.msg);
    const struct content_listener l = catalog_listener(catalog);
    door = content_new();
    content_set_store(door, store);
    content_listen(door, &l);
    struct takeover t = {record, store, catalog, &rules, dir};
    hosted_take_over(&t);
    hosted_claim_flagged(&t);
    hosted_tell_store(record, door, store, &rules);
    store_wait_reconciled(store);
}

static inline void close_all(void) {
    content_free(door);
    door = NULL;
    if (catalog) catalog_close(catalog);
    if (store) store_close(store);
    catalog = NULL;
    store = NULL;
}

static inline void reopen(void) {
    close_all();
    open_all();
}

static inline int set_up(void **state) {
    (void)state;
    rules.n_hosted = 1;
    fixture_dir(dir);
    open_all();
    return 0;
}

static inline int tear_down(void **state) {
    (void)state;
    close_all();
    fixture_remove(dir);
    return 0;
}

static inline void path_in_dir(const char *name, char out[600]) {
    snprintf(out, 600, "%s/%s", dir, name);
}

/* name and what SQLite keeps beside it. */
static inline void lose(const char *name) {
    static const char *const more[] = {"", "-wal", "-shm", "-journal"};
    char path[600];
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        snprintf(path, sizeof(path), "%s/%s%s", dir, name, more[i]);
        unlink(path);
    }
}

static inline void spoil(const char *name, off_t at) {
    static const char noise[512] = "these are not the bytes that were here";
    char path[600];
    path_in_dir(name, path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    assert_int_equal(fwrite(noise, sizeof(noise), 1, f), 1);
    fclose(f);
}

static inline void run_sql(const char *name, const char *sql) {
    char path[600];
    sqlite3 *db;
    path_in_dir(name, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static inline void blob_path(const struct digest *d, char out[600]) {
    char hex[DIGEST_STR_MAX];
    digest_hex(d, hex);
    snprintf(out, 600, "%s/blobs/sha256/%.2s/%s", dir, hex, hex);
}

/* --- an image: an index with one manifest of one layer; beside it a mirrored blob of 8 bytes --- */

struct image {
    struct digest layer, manifest, index, mirrored;
    struct hosted_blob blobs[3];
    struct digest children[2];
    char text[3][512];
};

static inline struct digest keep(const char *text, const char *media_type, unsigned flags) {
    struct digest d;
    uint32_t scope;
    struct error err = {0};
    digest_of(&d, DIGEST_SHA256, text, strlen(text));
    assert_int_equal(store_scope(store, flags & 128 ? "docker.io" : "acme/app", &scope), 0);
    struct commit_info info = {.size = (int64_t)strlen(text), .scopes = &scope, .n_scopes = 1};
    info.flags = (flags & BLOB_HOSTED) | (media_type ? (unsigned)BLOB_MANIFEST : 0);
    info.media_type = media_type;
    info.repository = media_type ? "acme/app" : NULL;
    if (put_bytes(store, &d, text, strlen(text), &info, &err) < 0) fail_msg("%s", err.msg);
    return d;
}

static inline void describe(struct image *i, int at, const struct digest *d, const char *media_type) {
    struct hosted_blob *b = &i->blobs[at];
    *b = (struct hosted_blob){.digest = *d, .size = (int64_t)strlen(i->text[at])};
    snprintf(b->media_type, sizeof(b->media_type), "%s", media_type);
    if (at == 0) return;
    b->children = &i->children[at - 1];
    b->n_children = 1;
}

/* flags: as the index of an earlier version has them. */
static inline void keep_image(struct image *i, unsigned flags) {
    char digest[DIGEST_STR_MAX];
    snprintf(i->text[0], sizeof(i->text[0]), "layer");
    i->layer = i->children[0] = keep(i->text[0], NULL, flags);
    snprintf(i->text[1], sizeof(i->text[1]),
             "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"layers\":[{\"digest\":\"%s\",\"size\":5}]}",
             MEDIA_OCI_MANIFEST, digest_str(&i->layer, digest));
    i->manifest = i->children[1] = keep(i->text[1], MEDIA_OCI_MANIFEST, flags);
    snprintf(i->text[2], sizeof(i->text[2]),
             "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[{\"digest\":\"%s\",\"size\":%zu}]}",
             MEDIA_OCI_INDEX, digest_str(&i->manifest, digest), strlen(i->text[1]));
    i->index = keep(i->text[2], MEDIA_OCI_INDEX, flags);
    i->mirrored = keep("mirrored", NULL, 128);
    describe(i, 0, &i->layer, "");
    describe(i, 1, &i->manifest, MEDIA_OCI_MANIFEST);
    describe(i, 2, &i->index, MEDIA_OCI_INDEX);
}

static inline struct tag_facts tag_of(const struct image *i) {
    struct tag_facts t = {.digest = i->index, .size = i->blobs[2].size, .checked_at = 1700000000};
    snprintf(t.media_type, sizeof(t.media_type), "%s", MEDIA_OCI_INDEX);
    return t;
}

/* As load does. */
static inline void host(struct image *i) {
    struct error err = {0};
    keep_image(i, 0);
    struct tag_facts t = tag_of(i);
    struct tag_facts rec = {.digest = i->index, .checked_at = t.checked_at, .size = t.size};
    if (hosted_add(record, "acme/app", i->blobs, 3, "v1", &t, &err) < 0) fail_msg("%s", err.msg);
    for (int k = 0; k < 3; k++)
        store_set_hosted(store, &i->blobs[k].digest, true);
    snprintf(rec.media_type, sizeof(rec.media_type), "%s", t.media_type);
    store_tag_set(store, "acme/app", "v1", &rec);
    assert_int_equal(store_sync(store), 0);
}

static inline bool is_hosted(const struct digest *d) {
    struct blob_info info;
    uint32_t scope;
    assert_int_equal(store_scope(store, "acme/app", &scope), 0);
    return store_lookup_in(store, d, scope, &info) && (info.flags & BLOB_HOSTED);
}

static inline bool count_complete(const char *tag, const struct tag_facts *rec, bool complete, void *arg) {
    (void)tag, (void)rec;
    *(int *)arg += complete;
    return true;
}

/* Its tag leads to it, whole, and nothing that is evicted takes anything of it. */
static inline void assert_whole(const struct image *i) {
    struct tag_facts rec;
    struct error err = {0};
    int whole = 0;
    prune_to(store, 0);
    assert_true(is_hosted(&i->layer) && is_hosted(&i->manifest) && is_hosted(&i->index));
    assert_true(store_tag_get(store, "acme/app", "v1", &rec));
    assert_true(digest_eq(&rec.digest, &i->index));
    assert_int_equal(store_each_tag(store, "acme/app", count_complete, &whole, &err), 0);
    assert_int_equal(whole, 1);
}

static inline int64_t missing(void) {
    struct hosted_missing m;
    hosted_each_missing(record, store, NULL, NULL, &m);
    return m.n;
}

#endif
