/* The record made from what index and catalogue know: for a data folder that never had one, and for one whose record
 * was damaged or lost. */
#include "tests/unit/central/warehouse/fixture.h"

static void learn_tag(const char *name, const char *tag, const struct digest *d) {
    struct repo_name repo;
    struct tag_facts t = {.digest = *d, .size = 7};
    snprintf(t.media_type, sizeof(t.media_type), "%s", MEDIA_OCI_INDEX);
    assert_int_equal(resolve_repo(&rules, NULL, name, strlen(name), &repo, NULL), 0);
    catalog_learn_tag(catalog, &repo, tag, &t);
}

/* A data folder as an earlier version leaves it. */
static void host_as_before(struct image *i) {
    keep_image(i, BLOB_HOSTED);
    struct tag_facts rec = {.digest = i->index, .size = i->blobs[2].size};
    snprintf(rec.media_type, sizeof(rec.media_type), "%s", MEDIA_OCI_INDEX);
    store_tag_set(store, "acme/app", "v1", &rec);
    store_tag_set(store, "docker.io/library/app", "v1", &rec);
    learn_tag("acme/app", "v1", &i->index);
    learn_tag("library/app", "v1", &i->index);
    catalog_flush(catalog);
    close_all();
    lose("hosted.db");
}

static bool noticed(void) {
    char path[600];
    path_in_dir(HOSTED_NOTICE, path);
    return access(path, F_OK) == 0;
}

static void a_folder_from_before_is_taken_over(void **state) {
    (void)state;
    struct image i;
    host_as_before(&i);
    open_store();
    assert_true(hosted_takeover_due(record));
    assert_int_equal(prune_to(store, 0), 0);
    close_all();
    open_all();
    assert_false(hosted_takeover_due(record) || noticed());
    assert_whole(&i);
    assert_false(fixture_held(store, &i.mirrored));
    assert_false(hosted_has_tag(record, "docker.io/library/app", "v1"));
    /* And the record alone is enough from then on. */
    close_all();
    lose("index.db");
    lose("catalog.db");
    open_all();
    assert_whole(&i);
}

static void a_tag_only_the_catalogue_knows_is_taken_over(void **state) {
    (void)state;
    struct image i;
    host_as_before(&i);
    run_sql("index.db", "DELETE FROM tags; UPDATE blobs SET flags=0, scopes=0");
    open_all();
    assert_whole(&i);
}

static void hosted_content_without_a_tag_is_taken_over(void **state) {
    (void)state;
    struct image i;
    host_as_before(&i);
    run_sql("index.db", "DELETE FROM tags");
    lose("catalog.db");
    open_all();
    prune_to(store, 0);
    assert_true(is_hosted(&i.layer) && is_hosted(&i.manifest) && is_hosted(&i.index));
    assert_true(hosted_knows(record, &i.layer, NULL));
}

static void what_was_hosted_by_other_patterns_is_taken_over(void **state) {
    (void)state;
    struct image i;
    host_as_before(&i);
    rules.n_hosted = 0;
    open_all();
    assert_true(hosted_has_tag(record, "acme/app", "v1"));
    rules.n_hosted = 1;
    reopen();
    assert_whole(&i);
}

static void missing_parts_are_recorded_as_missing(void **state) {
    (void)state;
    struct image i;
    char path[600];
    host_as_before(&i);
    blob_path(&i.layer, path);
    assert_int_equal(unlink(path), 0);
    open_all();
    assert_int_equal(missing(), 1);
    assert_true(hosted_knows(record, &i.layer, NULL));
    host(&i);
    assert_int_equal(missing(), 0);
    assert_whole(&i);
}

static void an_index_lost_before_there_was_a_record_is_told_and_holds_eviction(void **state) {
    (void)state;
    struct image i;
    char path[600];
    host_as_before(&i);
    lose("index.db");
    open_all();
    assert_true(noticed() && store_eviction_held(store));
    assert_int_equal(prune_to(store, 0), 0);
    assert_true(is_hosted(&i.layer) && is_hosted(&i.index));
    reopen(); /* and it is not forgotten */
    assert_true(store_eviction_held(store));
    path_in_dir(HOSTED_NOTICE, path);
    assert_int_equal(unlink(path), 0);
    assert_false(store_eviction_held(store));
    assert_whole(&i);
    assert_false(fixture_held(store, &i.mirrored));
}

static void nothing_known_at_all_holds_eviction(void **state) {
    (void)state;
    struct image i;
    host_as_before(&i);
    lose("index.db");
    lose("catalog.db");
    open_all();
    assert_true(noticed() && store_eviction_held(store));
    prune_to(store, 0);
    assert_true(fixture_held(store, &i.layer));
}

static void a_damaged_record_is_put_aside_and_made_again(void **state) {
    (void)state;
    static const off_t places[] = {0, 4096, 3 * 4096, 8 * 4096};
    struct image i;
    char path[600];
    host(&i);
    for (size_t k = 0; k < ARRAY_LEN(places); k++) {
        close_all();
        spoil("hosted.db", places[k]);
        open_all();
        assert_true(noticed() && store_eviction_held(store));
        snprintf(path, sizeof(path), k ? "%s/hosted.db.damaged-%zu" : "%s/hosted.db.damaged", dir, k + 1);
        assert_int_equal(access(path, F_OK), 0);
        path_in_dir(HOSTED_NOTICE, path);
        assert_int_equal(unlink(path), 0);
        assert_whole(&i);
    }
}

static void what_a_damaged_record_still_tells_is_kept(void **state) {
    (void)state;
    struct image i;
    char path[600];
    host(&i);
    close_all();
    lose("index.db");
    lose("catalog.db");
    /* Only the number of another program: all of its rows can be read. */
    run_sql("hosted.db", "PRAGMA application_id=7");
    open_all();
    assert_true(noticed());
    path_in_dir(HOSTED_NOTICE, path);
    assert_int_equal(unlink(path), 0);
    assert_whole(&i);
}

static void a_record_that_was_removed_is_made_again_and_told(void **state) {
    (void)state;
    struct image i;
    char path[600];
    host(&i);
    close_all();
    path_in_dir("hosted.db", path);
    assert_int_equal(unlink(path), 0);
    open_store(); /* killed before it was taken over */
    close_all();
    open_all();
    assert_true(noticed() && store_eviction_held(store));
    path_in_dir(HOSTED_NOTICE, path);
    assert_int_equal(unlink(path), 0);
    assert_whole(&i);
}

static void an_older_record_put_back_lets_nothing_go_and_is_told(void **state) {
    (void)state;
    struct image i;
    char path[600], copy[600];
    close_all();
    path_in_dir("hosted.db", path);
    path_in_dir("older", copy);
    assert_int_equal(link(path, copy), 0);
    lose("hosted.db");
    open_all(); /* another file, which is the newer one */
    host(&i);
    close_all();
    assert_int_equal(rename(copy, path), 0);
    open_all();
    prune_to(store, 0);
    assert_true(is_hosted(&i.layer) && is_hosted(&i.manifest) && is_hosted(&i.index));
    assert_true(hosted_knows(record, &i.layer, NULL));
    assert_whole(&i);
    assert_true(noticed() && store_eviction_held(store));
    path_in_dir(HOSTED_NOTICE, path);
    assert_int_equal(unlink(path), 0);
    reopen();
    assert_whole(&i);
    assert_false(noticed());
}

static void an_older_record_without_the_index_holds_eviction(void **state) {
    (void)state;
    struct image i;
    char path[600], copy[600];
    host(&i);
    reopen();
    close_all();
    lose("index.db");
    open_all();
    assert_false(noticed()); /* the record has all that the catalogue has */
    close_all();
    path_in_dir("hosted.db", path);
    path_in_dir("older", copy);
    assert_int_equal(rename(path, copy), 0); /* the newer one, out of the way */
    lose("hosted.db");
    lose("index.db");
    path_in_dir("catalog.db", path);
    path_in_dir("catalog.newer", copy);
    assert_int_equal(rename(path, copy), 0);
    lose("catalog.db");
    open_all(); /* a complete record of nothing */
    close_all();
    path_in_dir(HOSTED_NOTICE, path);
    unlink(path);
    lose("index.db");
    lose("catalog.db");
    path_in_dir("catalog.db", path);
    assert_int_equal(rename(copy, path), 0);
    open_all();
    assert_true(noticed() && store_eviction_held(store));
    assert_int_equal(prune_to(store, 0), 0);
    assert_true(fixture_held(store, &i.layer));
}

static void an_empty_folder_is_no_reason_to_doubt(void **state) {
    (void)state;
    assert_false(hosted_takeover_due(record) || noticed() || store_eviction_held(store));
    reopen();
    assert_false(hosted_takeover_due(record) || noticed() || store_eviction_held(store));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_folder_from_before_is_taken_over),
        T(a_tag_only_the_catalogue_knows_is_taken_over),
        T(hosted_content_without_a_tag_is_taken_over),
        T(what_was_hosted_by_other_patterns_is_taken_over),
        T(missing_parts_are_recorded_as_missing),
        T(an_index_lost_before_there_was_a_record_is_told_and_holds_eviction),
        T(nothing_known_at_all_holds_eviction),
        T(a_damaged_record_is_put_aside_and_made_again),
        T(what_a_damaged_record_still_tells_is_kept),
        T(a_record_that_was_removed_is_made_again_and_told),
        T(an_older_record_put_back_lets_nothing_go_and_is_told),
        T(an_older_record_without_the_index_holds_eviction),
        T(an_empty_folder_is_no_reason_to_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
