/* After a store's index was made anew, what is hosted is told to it again, and nothing is evicted before. */
#include "tests/unit/common/store/fixture.h"

#include "central/warehouse/recall.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <unistd.h>

static char dir[256], path[300];
static struct store *store;
static struct catalog *catalog;
static const struct name_rules rules = {.upstreams = (const char *const[]){"docker.io"},
                                        .n_upstreams = 1,
                                        .default_upstream = "docker.io",
                                        .hosted = (const char *const[]){"acme/**"},
                                        .n_hosted = 1};

static int set_up(void **state) {
    (void)state;
    fixture_dir(dir);
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    store = fixture_open(dir, 0);
    return catalog_open(&catalog, path, 1, NULL);
}

static int tear_down(void **state) {
    (void)state;
    catalog_close(catalog);
    store_close(store);
    fixture_remove(dir);
    return 0;
}

static struct digest keep(const char *text, const char *repo) {
    struct digest d;
    uint32_t scope;
    digest_of(&d, DIGEST_SHA256, text, strlen(text));
    assert_int_equal(store_scope(store, "acme/app", &scope), 0);
    struct commit_info info = {.size = (int64_t)strlen(text), .scopes = &scope, .n_scopes = 1, .repository = repo};
    info.flags = repo ? BLOB_HOSTED | BLOB_MANIFEST : strcmp(text, "mirrored") ? BLOB_HOSTED : 0;
    info.media_type = repo ? MEDIA_OCI_MANIFEST : NULL;
    assert_int_equal(store_put(store, &d, text, strlen(text), &info, NULL), 0);
    return d;
}

/* A hosted image of one layer, with an index over it that has the tag; and a mirrored blob. */
struct image {
    struct digest layer, manifest, index, mirrored;
};

static struct image host(void) {
    struct image i = {.layer = keep("layer", NULL), .mirrored = keep("mirrored", NULL)};
    char text[512], digest[DIGEST_STR_MAX];
    snprintf(text, sizeof(text),
             "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"layers\":[{\"digest\":\"%s\",\"size\":5}]}",
             MEDIA_OCI_MANIFEST, digest_str(&i.layer, digest));
    i.manifest = keep(text, "acme/app");
    snprintf(text, sizeof(text),
             "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[{\"digest\":\"%s\",\"size\":%zu}]}",
             MEDIA_OCI_INDEX, digest_str(&i.manifest, digest), strlen(text));
    i.index = keep(text, "acme/app");
    struct repo_name repo;
    struct catalog_tag tag = {.digest = i.index, .size = 7, .media_type = "application/x"};
    assert_int_equal(resolve_repo(&rules, NULL, "acme/app", 8, &repo, NULL), 0);
    catalog_learn_tag(catalog, &repo, "v1", &tag);
    assert_int_equal(resolve_repo(&rules, NULL, "library/app", 11, &repo, NULL), 0);
    catalog_learn_tag(catalog, &repo, "v1", &tag);
    catalog_flush(catalog);
    return i;
}

static void lose_index(void) {
    static const char *const files[] = {"index.db", "index.db-wal", "index.db-shm"};
    char file[300];
    store_close(store);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(file, sizeof(file), "%s/%s", dir, files[i]);
        unlink(file);
    }
    store = fixture_open(dir, 0);
}

static bool hosted(const struct digest *d) {
    struct blob_info info;
    uint32_t scope;
    assert_int_equal(store_scope(store, "acme/app", &scope), 0);
    return store_lookup_in(store, d, scope, &info) && (info.flags & BLOB_HOSTED);
}

static bool is_complete(const char *tag, const struct tag_record *rec, bool complete, void *arg) {
    (void)tag, (void)rec;
    *(int *)arg += complete;
    return true;
}

static void what_is_hosted_is_known_again_from_its_tags_down(void **state) {
    (void)state;
    struct image i = host();
    struct recall_report report;
    assert_false(store_recall_due(store)); /* an empty folder has nothing to recall */
    for (int life = 0; life < 2; life++) {
        lose_index();
        assert_true(store_recall_due(store));
        assert_int_equal(store_prune(store, 0), 0);
        hosted_recall(catalog, store, &rules, &report);
        assert_int_equal(report.tags, 1);
        assert_int_equal(report.blobs, 3);
        assert_true(report.incomplete == 0 && !report.blind && report.code == 0);
        assert_true(hosted(&i.layer) && hosted(&i.manifest) && hosted(&i.index));
        assert_false(hosted(&i.mirrored));
        /* It is told again after a crash in between. */
        store_close(store);
        store = fixture_open(dir, 0);
        assert_true(store_recall_due(store));
        hosted_recall(catalog, store, &rules, &report);
        store_recall_done(store);
        assert_int_equal(store_prune(store, 0), life == 0 ? 8 : 0); /* the mirrored one, once */
        store_close(store);
        store = fixture_open(dir, 0);
        assert_false(store_recall_due(store));
        assert_true(hosted(&i.layer) && hosted(&i.manifest) && hosted(&i.index));
        int whole = 0;
        struct error err;
        assert_int_equal(store_each_tag(store, "acme/app", is_complete, &whole, &err), 0);
        assert_int_equal(whole, 1);
        struct tag_record rec;
        assert_false(store_tag_get(store, "docker.io/library/app", "v1", &rec));
    }
}

static void an_index_made_anew_by_hand_is_told_too(void **state) {
    (void)state;
    struct image i = host();
    struct verify_report done;
    struct recall_report report;
    lose_index(); /* so that nothing can be taken from the old one */
    store_close(store);
    assert_int_equal(store_rebuild(dir, NULL, &done, NULL), 0);
    store = fixture_open(dir, 0);
    assert_true(store_recall_due(store));
    hosted_recall(catalog, store, &rules, &report);
    store_recall_done(store);
    store_close(store);
    store = fixture_open(dir, 0);
    assert_int_equal(store_prune(store, 0), 8);
    assert_true(hosted(&i.layer) && hosted(&i.manifest) && hosted(&i.index));
}

static void what_is_missing_is_counted(void **state) {
    (void)state;
    struct image i = host();
    struct recall_report report;
    store_delete(store, &i.layer);
    lose_index();
    hosted_recall(catalog, store, &rules, &report);
    assert_true(report.tags == 1 && report.incomplete == 1 && report.blobs == 2 && !report.blind);
    catalog_close(catalog);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(catalog_open(&catalog, path, 1, NULL), 0);
    lose_index();
    hosted_recall(catalog, store, &rules, &report);
    assert_true(report.tags == 0 && report.blind);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(what_is_hosted_is_known_again_from_its_tags_down),
        T(an_index_made_anew_by_hand_is_told_too),
        T(what_is_missing_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
