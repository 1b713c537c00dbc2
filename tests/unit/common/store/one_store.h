/* One store in a folder of its own, opened before each test: what the tests of the store from outside share. */
#ifndef ENTREPOT_TESTS_ONE_STORE_H
#define ENTREPOT_TESTS_ONE_STORE_H

#include "tests/unit/common/store/fixture.h"

#include <sqlite3.h>

#include "common/core/log.h"
#include "common/store/tag.h"

static char dir[256];
static struct store *store;

static inline int setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    fixture_dir(dir);
    store = fixture_open(dir, 0);
    return 0;
}

/* Also from a test that goes on without the store; a test that fails until it is open again leaves none to tear down. */
static inline void shut(void) {
    if (store) store_close(store);
    store = NULL;
}

static inline int teardown(void **state) {
    (void)state;
    shut();
    fixture_remove(dir);
    return 0;
}

static inline void reopen(void) {
    shut();
    store = fixture_open(dir, 0);
}

static inline void path_of(const struct digest *d, char out[512]) {
    char hex[DIGEST_STR_MAX];
    digest_hex(d, hex);
    snprintf(out, 512, "%s/blobs/%s/%.2s/%s", dir, digest_alg_name(d->alg), hex, hex);
}

static inline void put_manifest(const char *text, const char *repo, const struct digest *children, size_t n,
                                struct digest *d) {
    struct error err;
    digest_of(d, DIGEST_SHA512, text, strlen(text));
    struct commit_info info = {.size = (int64_t)strlen(text),
                               .flags = BLOB_MANIFEST,
                               .media_type = "application/vnd.oci.image.manifest.v1+json",
                               .repository = repo,
                               .children = children,
                               .n_children = n};
    if (put_bytes(store, d, text, strlen(text), &info, &err) < 0) fail_msg("%s", err.msg);
}

static inline void exec_index(const char *sql) {
    sqlite3 *db;
    char path[512];
    snprintf(path, sizeof(path), "%s/index.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static inline void set_tag(const char *repo, const char *tag, const struct digest *d) {
    struct tag_facts rec = {.digest = *d, .checked_at = 123, .size = 7, .media_type = "application/x"};
    store_tag_set(store, repo, tag, &rec);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
