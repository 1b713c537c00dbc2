/* The catalogue: what it learns, what it answers, and how it starts again. */
#include "central/catalog/catalog.h"

#include "common/core/file.h"

#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/folder.h"
#include "tests/unit/support/nth_digest.h"

static char dir[256], path[300];

static struct catalog *open_it(void) {
    struct catalog *c = NULL;
    struct error err = {0};
    if (catalog_open(&c, path, 2, &err) < 0) fail_msg("%s", err.msg);
    return c;
}

static int make_dir(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/catalog-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    return folder_remove(dir);
}

static struct catalog_fact look(struct catalog *c, int n, bool proofs) {
    struct catalog_fact f = {.digest = nth_digest(n), .want_proofs = proofs};
    catalog_flush(c);
    catalog_lookup(c, &f, 1, SIZE_MAX);
    return f;
}

static void a_blob_is_known_after_it_was_learned_and_over_a_restart(void **state) {
    (void)state;
    struct catalog *c = open_it();
    struct digest d = nth_digest(1);
    uint8_t proofs[2 * 32] = {7};
    assert_int_equal(look(c, 1, false).code, ERR_NOT_FOUND);
    assert_int_equal(catalog_sequence(c), 0);
    catalog_learn_blob(c, &d, 3 * PIECE_SIZE, true, proofs, sizeof(proofs));
    for (int round = 0; round < 2; round++) {
        struct catalog_fact f = look(c, 1, true);
        assert_int_equal(f.code, 0);
        assert_int_equal(f.size, 3 * PIECE_SIZE);
        assert_true(f.held);
        assert_false(f.is_manifest);
        assert_int_equal(f.proofs_len, sizeof(proofs));
        assert_memory_equal(f.proofs, proofs, sizeof(proofs));
        catalog_fact_fini(&f);
        assert_null(look(c, 1, false).proofs);
        assert_int_equal(catalog_sequence(c), 1);
        catalog_close(c);
        c = open_it();
    }
    catalog_close(c);
}

static void what_is_known_already_is_no_change(void **state) {
    (void)state;
    struct catalog *c = open_it();
    struct digest d = nth_digest(1);
    struct manifest m = {0};
    struct repo_name repo = {"docker.io", "library/nginx"};
    struct tag_facts t = {.digest = d, .size = 5, .media_type = "a/b", .checked_at = 100};
    for (int i = 0; i < 3; i++) {
        catalog_learn_blob(c, &d, 5, true, NULL, 0);
        catalog_learn_blob(c, &d, 9, false, NULL, 0); /* a promise does not replace what was verified */
        catalog_learn_manifest(c, &d, "a/b", 5, &m);
        catalog_learn_tag(c, &repo, "v1", &t);
        t.checked_at -= 10; /* an earlier check, told late */
    }
    struct catalog_fact f = look(c, 1, false);
    assert_int_equal(f.size, 5);
    catalog_fact_fini(&f);
    assert_int_equal(catalog_sequence(c), 3);
    t.checked_at = 200; /* replicas are told how fresh it is */
    catalog_learn_tag(c, &repo, "v1", &t);
    catalog_flush(c);
    assert_int_equal(catalog_sequence(c), 4);
    t.deleted = true;
    catalog_learn_tag(c, &repo, "v1", &t);
    catalog_blob_lost(c, &d);
    catalog_blob_lost(c, &d);
    f = look(c, 1, false);
    assert_int_equal(f.code, 0);
    assert_int_equal(f.size, 5);
    assert_false(f.held);
    catalog_fact_fini(&f);
    assert_int_equal(catalog_sequence(c), 6);
    catalog_close(c);
}

static void a_manifest_tells_its_children_and_their_sizes(void **state) {
    (void)state;
    struct catalog *c = open_it();
    struct manifest_child kids[4] = {
        {.digest = nth_digest(10), .size = 100, .kind = CHILD_CONFIG},
        {.digest = nth_digest(11), .size = 200, .kind = CHILD_LAYER, .foreign = true},
        {.digest = nth_digest(12), .size = -1, .kind = CHILD_MANIFEST, .os = "linux", .arch = "arm", .variant = "v7"},
        {.digest = nth_digest(11), .size = 200, .kind = CHILD_LAYER, .foreign = true}, /* one layer twice is legal */
    };
    struct manifest m = {.children = kids, .n_children = 4};
    struct digest d = nth_digest(1), other = nth_digest(2);
    catalog_learn_manifest(c, &d, "application/vnd.oci.image.index.v1+json; charset=x", 1234, &m);
    struct catalog_fact f = look(c, 1, false);
    assert_int_equal(f.code, 0);
    assert_true(f.is_manifest && f.manifest.is_index && !f.held);
    assert_string_equal(f.manifest.media_type, MEDIA_OCI_INDEX);
    assert_int_equal(f.size, 1234);
    assert_int_equal(f.manifest.n_children, 4);
    assert_memory_equal(f.manifest.children, kids, sizeof(kids));
    catalog_fact_fini(&f);
    assert_int_equal(look(c, 11, false).size, 200);
    assert_int_equal(look(c, 12, false).code, 0);
    assert_int_equal(look(c, 12, false).size, -1);
    /* Another manifest that lies about a size makes it unknown, not wrong. */
    kids[0].size = 101;
    m.n_children = 1;
    catalog_learn_manifest(c, &other, "", 9, &m);
    assert_int_equal(look(c, 10, false).size, -1);
    catalog_close(c);
}

static void a_batch_is_bounded(void **state) {
    (void)state;
    struct catalog *c = open_it();
    struct manifest_child kids[50];
    for (int i = 0; i < 50; i++)
        kids[i] = (struct manifest_child){.digest = nth_digest(100 + i), .size = i, .kind = CHILD_LAYER};
    struct manifest m = {.children = kids, .n_children = 50};
    struct catalog_fact f[3] = {{.digest = nth_digest(1)}, {.digest = nth_digest(2)}, {.digest = nth_digest(149)}};
    catalog_learn_manifest(c, &f[0].digest, "", 1, &m);
    catalog_learn_manifest(c, &f[1].digest, "", 1, &m);
    catalog_flush(c);
    catalog_lookup(c, f, 3, 60 * sizeof(struct manifest_child));
    assert_int_equal(f[0].code, 0);
    assert_int_equal(f[1].code, ERR_TOO_BIG);
    assert_null(f[1].manifest.children);
    assert_int_equal(f[2].code, 0);
    assert_int_equal(f[2].size, 49);
    for (size_t i = 0; i < 3; i++)
        catalog_fact_fini(&f[i]);
    catalog_close(c);
}

static void proofs_that_do_not_fit_the_size_are_not_kept(void **state) {
    (void)state;
    struct catalog *c = open_it();
    struct digest d = nth_digest(1);
    uint8_t proofs[96] = {0};
    catalog_learn_blob(c, &d, 3 * PIECE_SIZE, true, proofs, 96);
    catalog_learn_blob(c, &d, 3 * PIECE_SIZE, true, proofs, 63);
    catalog_learn_blob(c, &d, 0, false, proofs, 32);
    assert_null(look(c, 1, true).proofs);
    catalog_close(c);
}

static int64_t query_number(const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    int64_t n = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void the_change_log_keeps_a_bounded_tail(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++) {
        struct catalog *c = open_it();
        for (int i = 0; i < 10; i++) {
            struct digest d = nth_digest(10 * round + i);
            catalog_learn_blob(c, &d, 1, true, NULL, 0);
        }
        catalog_close(c);
        if (round == 0) {
            query_number("UPDATE sqlite_sequence SET seq = 1001470 WHERE name = 'log'");
            query_number("UPDATE place SET seen = 1001470");
        }
    }
    assert_int_equal(query_number("SELECT count(*) FROM log"), 10);
    assert_int_equal(query_number("SELECT min(seq) FROM log"), 1001471);
    assert_int_equal(query_number("SELECT count(*) FROM blobs"), 20);
    struct catalog *c = open_it();
    assert_int_equal(catalog_sequence(c), 1001480);
    catalog_close(c);
}

static void a_damaged_file_is_put_aside_and_begun_anew(void **state) {
    (void)state;
    struct catalog *c = open_it();
    struct digest d = nth_digest(1);
    catalog_learn_blob(c, &d, 5, true, NULL, 0);
    catalog_close(c);
    assert_int_equal(file_write_atomic(path, 0600, "this is no database, this is a text that is long enough", 55, NULL),
                     0);
    c = open_it();
    assert_int_equal(look(c, 1, false).code, ERR_NOT_FOUND);
    catalog_learn_blob(c, &d, 5, true, NULL, 0);
    assert_int_equal(look(c, 1, false).code, 0);
    catalog_close(c);
    char aside[400];
    snprintf(aside, sizeof(aside), "%s.damaged", path);
    assert_int_equal(access(aside, F_OK), 0);
}

static void damage_inside_is_found_at_the_start_after_it_was_met(void **state) {
    (void)state;
    struct catalog *c = open_it();
    for (int i = 0; i < 3000; i++) {
        struct digest d = nth_digest(i);
        catalog_learn_blob(c, &d, i, true, NULL, 0);
    }
    catalog_close(c);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    char junk[4096];
    memset(junk, 0x5a, sizeof(junk));
    fseek(f, 0, SEEK_END);
    long end = ftell(f);
    for (long at = 16 * 4096; at + 4096 <= end; at += 4096) {
        fseek(f, at, SEEK_SET);
        assert_int_equal(fwrite(junk, sizeof(junk), 1, f), 1);
    }
    fclose(f);
    c = open_it();
    int broken = 0;
    for (int i = 0; i < 3000; i++) {
        struct catalog_fact got = {.digest = nth_digest(i)};
        catalog_lookup(c, &got, 1, SIZE_MAX);
        broken += got.code == ERR_CORRUPT;
    }
    assert_true(broken > 0);
    catalog_close(c);
    c = open_it();
    assert_int_equal(look(c, 1, false).code, ERR_NOT_FOUND);
    catalog_close(c);
}

static void a_file_of_another_version_is_put_aside(void **state) {
    (void)state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE blobs(x); PRAGMA user_version = 77", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct catalog *c = open_it();
    assert_int_equal(look(c, 1, false).code, ERR_NOT_FOUND);
    catalog_close(c);
}

static void a_folder_that_is_missing_is_an_error_with_the_path(void **state) {
    (void)state;
    struct catalog *c = NULL;
    struct error err = {0};
    assert_true(catalog_open(&c, "/nowhere/at/all/catalog.db", 1, &err) < 0);
    assert_non_null(strstr(err.msg, "/nowhere/at/all/catalog.db"));
    assert_null(c);
}

struct crowd {
    struct catalog *c;
    int first;
};

static void *learn_and_ask(void *arg) {
    struct crowd *w = arg;
    for (int i = 0; i < 500; i++) {
        struct digest d = nth_digest(w->first + i % 400);
        catalog_learn_blob(w->c, &d, w->first + i % 400, true, NULL, 0);
        struct catalog_fact f = {.digest = d};
        catalog_lookup(w->c, &f, 1, SIZE_MAX);
        if (f.code == 0 && f.size != w->first + i % 400) return w;
    }
    return NULL;
}

static void many_threads_learn_and_ask_at_once(void **state) {
    (void)state;
    struct catalog *c = open_it();
    pthread_t t[4];
    struct crowd w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (struct crowd){c, i * 100};
        assert_int_equal(pthread_create(&t[i], NULL, learn_and_ask, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    catalog_flush(c);
    assert_int_equal(catalog_sequence(c), 700);
    struct catalog_stats s;
    catalog_stats(c, &s);
    assert_int_equal(s.learned, 2000);
    assert_int_equal(s.failed + s.dropped, 0);
    catalog_close(c);
}

static void stop_loop(struct catalog_query *q) {
    loop_stop(q->loop);
}

static void a_query_is_answered_on_its_loop(void **state) {
    (void)state;
    struct catalog *c = open_it();
    struct digest d = nth_digest(1);
    catalog_learn_blob(c, &d, 5, true, NULL, 0);
    catalog_flush(c);
    struct workpool *pool = workpool_new("work", 2);
    struct loop *loop = loop_new("asker");
    struct catalog_fact f = {.digest = d};
    struct catalog_query q = {.catalog = c, .facts = &f, .n = 1, .max_bytes = 1000, .loop = loop, .done = stop_loop};
    catalog_query_submit(&q, pool);
    loop_run(loop);
    assert_int_equal(f.code, 0);
    assert_int_equal(f.size, 5);
    workpool_free(pool);
    loop_free(loop);
    catalog_close(c);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(a_blob_is_known_after_it_was_learned_and_over_a_restart),
        TEST(what_is_known_already_is_no_change),
        TEST(a_manifest_tells_its_children_and_their_sizes),
        TEST(a_batch_is_bounded),
        TEST(proofs_that_do_not_fit_the_size_are_not_kept),
        TEST(the_change_log_keeps_a_bounded_tail),
        TEST(a_damaged_file_is_put_aside_and_begun_anew),
        TEST(damage_inside_is_found_at_the_start_after_it_was_met),
        TEST(a_file_of_another_version_is_put_aside),
        TEST(a_folder_that_is_missing_is_an_error_with_the_path),
        TEST(many_threads_learn_and_ask_at_once),
        TEST(a_query_is_answered_on_its_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
