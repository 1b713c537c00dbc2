/* Readers while the table grows, blobs come and go, and tags move: no torn entry, no wrong byte, no leaked descriptor.
 */
#include "tests/unit/common/store/fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/core/log.h"
#include "common/store/table.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#define READERS 3

/* --- the table alone: every entry's fields follow from its number, so a torn read shows --- */

#define ENTRIES 20000u

static struct table *table;
static struct digest names[ENTRIES];
static atomic_bool stop;
static atomic_uint hits;

static struct table_value value_of(unsigned i, unsigned generation) {
    uint32_t mark = (i * 31 + generation) & 0xffffff;
    return (struct table_value){.size = mark, .media = (uint16_t)mark, .scopes = {mark, mark}, .flags = mark & 0xff};
}

static void *read_table(void *arg) {
    unsigned x = (unsigned)(uintptr_t)arg;
    while (!stop) {
        x = x * 1664525u + 1013904223u;
        struct table_value v;
        uint32_t id = table_find(table, &names[(x >> 8) % ENTRIES], &v);
        if (!id) continue;
        hits++;
        uint32_t mark = v.scopes[0];
        if (v.size != mark || v.media != (uint16_t)mark || v.scopes[1] != mark || v.flags != (mark & 0xff)) abort();
        table_touch(table, id, x, false);
    }
    return NULL;
}

static void readers_never_see_a_torn_entry(void **state) {
    (void)state;
    pthread_t threads[READERS];
    table = table_new();
    stop = false;
    hits = 0;
    for (unsigned i = 0; i < ENTRIES; i++)
        digest_of(&names[i], i % 5 ? DIGEST_SHA256 : DIGEST_SHA512, &i, sizeof(i));
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_table, (void *)(uintptr_t)(i + 1)), 0);
    for (unsigned generation = 0; generation < 10 || hits < 1000; generation++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            struct table_value v = value_of(i, generation);
            bool existed;
            if ((i + generation) % 3 == 0) {
                uint32_t id = table_remove(table, &names[i]);
                if (id) table_release(table, id);
            } else {
                table_put(table, &names[i], &v, 1, &existed);
            }
        }
    }
    stop = true;
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    table_free(table);
}

/* --- the whole store --- */

#define BLOBS 200u
#define BLOB_SIZE 3000

static struct store *store;
static struct digest blobs[BLOBS];
static uint32_t scope;

static void read_one(unsigned n) {
    struct blob_info bi;
    char *data, *want;
    size_t len;
    struct digest d;
    store_lookup_in(store, &blobs[n], scope, &bi);
    if (store_read_blob(store, &blobs[n], BLOB_SIZE, &data, &len, &bi) != 0) return;
    hits++;
    want = fixture_bytes(n, BLOB_SIZE, &d);
    if (len != BLOB_SIZE || memcmp(data, want, len) != 0) abort();
    free(want);
    free(data);
}

static void *read_store(void *arg) {
    unsigned x = (unsigned)(uintptr_t)arg;
    while (!stop) {
        x = x * 1664525u + 1013904223u;
        read_one((x >> 8) % BLOBS);
        struct tag_facts rec;
        char **tags;
        if (store_tag_get(store, "r", "t", &rec) && rec.checked_at != rec.size) abort();
        size_t n = store_tags(store, "r", "", 10, &tags);
        for (size_t i = 0; i < n; i++)
            free(tags[i]);
        free(tags);
    }
    return NULL;
}

static void write_one(unsigned i) {
    unsigned n = i * 7 % BLOBS;
    struct digest d;
    if (i % 11 == 0) {
        store_unreadable(store, &blobs[n], NULL, -EIO);
        return;
    }
    struct tag_facts rec = {.digest = blobs[n], .checked_at = i, .size = i, .media_type = "application/x"};
    store_tag_set(store, "r", "t", &rec);
    int r = fixture_put_flags(store, n, BLOB_SIZE, 0, &d);
    /* Readers hold on to what little there is: then there may be nothing to evict for a moment. And the other writer
     * may drop a blob while it is being committed. */
    if (r != 0 && r != ERR_NO_SPACE && r != ERR_NOT_FOUND) abort();
    store_set_hosted(store, &blobs[n], i % 13 == 0);
}

static void *write_store(void *arg) {
    unsigned from = (unsigned)(uintptr_t)arg;
    for (unsigned i = from; i < from + 600; i++)
        write_one(i);
    return NULL;
}

static atomic_int changes;

static void on_change(const struct digest *d, bool held, void *arg) {
    (void)d;
    (void)arg;
    changes += held ? 1 : -1;
}

static void readers_get_right_bytes_while_blobs_come_and_go(void **state) {
    (void)state;
    char dir[256];
    struct error err;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    fixture_dir(dir);
    /* Room for half of the blobs, so that eviction never rests. */
    struct store_config cfg = {.dir = dir, .limit = BLOBS / 2 * BLOB_SIZE, .on_change = on_change};
    assert_int_equal(store_open(&store, &cfg, &err), 0);
    assert_int_equal(store_scope(store, "docker.io", &scope), 0);
    stop = false;
    hits = 0;
    for (unsigned n = 0; n < BLOBS; n++)
        free(fixture_bytes(n, BLOB_SIZE, &blobs[n]));
    pthread_t readers[READERS], writers[2];
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_store, (void *)(uintptr_t)(i + 1)), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_store, (void *)(uintptr_t)(i * 5000)), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    struct verify_report rep;
    assert_int_equal(store_verify(store, NULL, NULL, &rep, &err), 0);
    assert_int_equal(rep.bad, 0);
    stop = true;
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    assert_true(hits > 0);
    prune_to(store, INT64_MAX);
    struct store_usage u;
    store_usage(store, &u);
    assert_int_equal(u.part_bytes, 0);
    assert_true(u.evictions > 0);
    int64_t held = u.blobs;
    store_close(store);
    store = fixture_open(dir, 0);
    store_usage(store, &u);
    assert_int_equal(u.blobs, held);
    assert_int_equal(u.bytes, held * BLOB_SIZE);
    store_close(store);
    fixture_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_never_see_a_torn_entry),
        cmocka_unit_test(readers_get_right_bytes_while_blobs_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
