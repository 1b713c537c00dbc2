/* The record of what is hosted, and the store that goes by it: whatever becomes of index, files and flags, nothing that
 * was hosted is forgotten or evicted. */
#include "tests/unit/central/warehouse/fixture.h"

#include <fcntl.h>

static void hosted_images_survive_eviction_and_restarts(void **state) {
    (void)state;
    struct image i;
    host(&i);
    assert_int_equal(prune_to(store, 0), 8); /* the mirrored one */
    assert_whole(&i);
    reopen();
    assert_whole(&i);
    struct hosted_counts c;
    hosted_count(record, &c);
    assert_true(c.tags == 1 && c.blobs == 3 && c.bytes == i.blobs[0].size + i.blobs[1].size + i.blobs[2].size);
}

static void count_hosted_tag(const char *repo, const char *tag, const struct tag_facts *t, void *arg) {
    if (strcmp(repo, "acme/app") == 0 && strcmp(tag, "v1") == 0 && t->checked_at > 0) ++*(int *)arg;
}

/* And whoever listens hears of the tag. */
static void a_lost_index_is_told_all_of_it_again(void **state) {
    (void)state;
    struct image i;
    host(&i);
    for (int life = 0; life < 2; life++) {
        close_all();
        lose("index.db");
        lose("catalog.db");
        open_all();
        assert_whole(&i);
        int heard = 0;
        catalog_flush(catalog);
        assert_int_equal(catalog_each_tag(catalog, count_hosted_tag, &heard), 0);
        assert_int_equal(heard, 1);
        assert_false(store_eviction_held(store)); /* the record is all that is needed */
    }
}

static void cleared_flags_scopes_and_tags_are_put_right(void **state) {
    (void)state;
    struct image i;
    host(&i);
    close_all();
    run_sql("index.db", "UPDATE blobs SET flags=0, scopes=0, media=0; DELETE FROM tags; DELETE FROM repo_manifests;"
                        "DELETE FROM children");
    open_all();
    assert_whole(&i);
}

static void eviction_asks_the_record_and_not_the_flags(void **state) {
    (void)state;
    struct image i;
    host(&i);
    close_all();
    run_sql("index.db", "UPDATE blobs SET flags=0, media=0");
    open_store(); /* nobody has told the store anything yet */
    store_wait_reconciled(store);
    assert_int_equal(prune_to(store, 0), 8);
    assert_true(fixture_held(store, &i.layer) && fixture_held(store, &i.manifest) && fixture_held(store, &i.index));
    assert_false(store_unreadable(store, &i.layer, NULL, -EIO));
    assert_true(fixture_held(store, &i.layer));
}

static void a_start_without_blobs_forgets_nothing(void **state) {
    (void)state;
    struct image i;
    char blobs[600], away[600], made[600];
    host(&i);
    close_all();
    path_in_dir("blobs", blobs);
    path_in_dir("away", away);
    assert_int_equal(rename(blobs, away), 0);
    open_all();
    assert_int_equal(missing(), 3);
    struct tag_facts rec;
    assert_true(store_tag_get(store, "acme/app", "v1", &rec));
    store_tag_forget(store, "acme/app", "v1"); /* whoever wants that: not this one */
    assert_true(store_tag_get(store, "acme/app", "v1", &rec));
    struct error err = {0};
    assert_int_equal(hosted_restore(record, store, "acme/app", &i.layer, true, &err), ERR_BUSY);
    assert_non_null(strstr(err.msg, "entrepot-central load"));
    assert_int_equal(hosted_restore(record, store, "acme/other", &i.layer, true, &err), ERR_NOT_FOUND);
    close_all();
    path_in_dir("empty", made);
    assert_int_equal(rename(blobs, made), 0);
    assert_int_equal(rename(away, blobs), 0);
    open_all();
    assert_int_equal(missing(), 0);
    assert_whole(&i);
}

static void a_file_that_comes_back_is_taken_back_if_it_is_right(void **state) {
    (void)state;
    struct image i;
    char path[600], away[600];
    struct error err = {0};
    host(&i);
    blob_path(&i.manifest, path);
    path_in_dir("away", away);
    assert_int_equal(rename(path, away), 0);
    struct verify_report report;
    assert_int_equal(store_verify(store, NULL, NULL, &report, &err), 0);
    assert_int_equal(report.missing, 1);
    assert_int_equal(missing(), 1);
    /* Other bytes of the same length. */
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int64_t n = 0; n < i.blobs[1].size; n++)
        fputc('x', f);
    fclose(f);
    assert_int_equal(hosted_restore(record, store, "acme/app", &i.manifest, true, &err), ERR_BUSY);
    assert_non_null(strstr(err.msg, "damaged"));
    assert_int_equal(access(path, F_OK), -1); /* set aside */
    assert_int_equal(missing(), 1);
    assert_int_equal(rename(away, path), 0);
    assert_int_equal(hosted_restore(record, store, "acme/app", &i.manifest, true, &err), 0);
    assert_int_equal(missing(), 0);
    assert_whole(&i);
}

static void wrong_bytes_are_set_aside_and_stay_recorded(void **state) {
    (void)state;
    struct image i;
    char path[600];
    host(&i);
    blob_path(&i.layer, path);
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 1), 1);
    close(fd);
    assert_int_equal(store_recheck(store, &i.layer), ERR_MISMATCH);
    assert_false(fixture_held(store, &i.layer));
    assert_int_equal(missing(), 1);
    reopen();
    assert_int_equal(missing(), 1);
    host(&i); /* loaded again */
    assert_int_equal(missing(), 0);
    assert_whole(&i);
}

static void what_an_upstream_gave_back_is_hosted_again(void **state) {
    (void)state;
    struct image i;
    char path[600];
    struct error err = {0};
    host(&i);
    blob_path(&i.layer, path);
    assert_int_equal(unlink(path), 0);
    struct verify_report report;
    assert_int_equal(store_verify(store, NULL, NULL, &report, &err), 0);
    keep("layer", NULL, 128); /* as a mirrored one */
    assert_false(is_hosted(&i.layer));
    prune_to(store, 0);
    assert_true(fixture_held(store, &i.layer));
    assert_int_equal(hosted_restore(record, store, "acme/app", &i.layer, true, &err), 0);
    assert_whole(&i);
}

static void an_image_on_its_way_in_is_not_evicted_and_not_hosted(void **state) {
    (void)state;
    struct image i;
    keep_image(&i, 0);
    hosted_hold(record, &i.layer);
    hosted_hold(record, &i.layer); /* by two loads */
    hosted_release(record, &i.layer);
    prune_to(store, 0);
    assert_true(fixture_held(store, &i.layer));
    assert_false(fixture_held(store, &i.manifest));
    hosted_release(record, &i.layer);
    assert_false(hosted_knows(record, &i.layer, NULL));
    store_set_hosted(store, &i.layer, false);
    prune_to(store, 0);
    assert_false(fixture_held(store, &i.layer));
}

static void patterns_that_change_and_change_back_lose_nothing(void **state) {
    (void)state;
    struct image i;
    host(&i);
    rules.n_hosted = 0;
    reopen();
    prune_to(store, 0);
    assert_true(fixture_held(store, &i.layer));
    rules.n_hosted = 1;
    reopen();
    assert_whole(&i);
}

static void a_tag_the_record_does_not_have_is_not_served(void **state) {
    (void)state;
    struct image i;
    struct tag_facts rec;
    host(&i);
    assert_true(store_tag_get(store, "acme/app", "v1", &rec));
    store_tag_set(store, "acme/app", "stray", &rec);
    store_tag_set(store, "docker.io/library/x", "v1", &rec);
    reopen();
    assert_false(store_tag_get(store, "acme/app", "stray", &rec));
    assert_true(store_tag_get(store, "docker.io/library/x", "v1", &rec));
    assert_whole(&i);
}

static void a_change_that_fails_changes_nothing(void **state) {
    (void)state;
    struct image i;
    struct error err = {0};
    char path[600];
    sqlite3 *db;
    keep_image(&i, 0);
    struct tag_facts t = tag_of(&i);
    path_in_dir("hosted.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TRIGGER no BEFORE INSERT ON tags BEGIN SELECT RAISE(FAIL, 'no'); END",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(hosted_add(record, "acme/app", i.blobs, 3, "v1", &t, &err) < 0);
    assert_false(hosted_knows(record, &i.layer, NULL) || hosted_has_tag(record, "acme/app", "v1"));
    assert_int_equal(sqlite3_exec(db, "DROP TRIGGER no", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    reopen();
    assert_false(hosted_knows(record, &i.layer, NULL) || hosted_has_tag(record, "acme/app", "v1"));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(hosted_images_survive_eviction_and_restarts),
        T(a_lost_index_is_told_all_of_it_again),
        T(cleared_flags_scopes_and_tags_are_put_right),
        T(eviction_asks_the_record_and_not_the_flags),
        T(a_start_without_blobs_forgets_nothing),
        T(a_file_that_comes_back_is_taken_back_if_it_is_right),
        T(wrong_bytes_are_set_aside_and_stay_recorded),
        T(what_an_upstream_gave_back_is_hosted_again),
        T(an_image_on_its_way_in_is_not_evicted_and_not_hosted),
        T(patterns_that_change_and_change_back_lose_nothing),
        T(a_tag_the_record_does_not_have_is_not_served),
        T(a_change_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
