/* What the store holds and the catalogue does not know is learned again. */
#include "tests/unit/common/store/fixture.h"

#include "central/catalog/relearn.h"
#include "common/store/tag.h"

static char dir[256];
static struct store *store;
static struct catalog *catalog;
static struct content *door;
static const struct name_rules rules = {
    .upstreams = (const char *const[]){"docker.io"}, .n_upstreams = 1, .default_upstream = "docker.io"};

static int set_up(void **state) {
    (void)state;
    char path[300];
    struct store_config cfg = {.dir = fixture_dir(dir)};
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    if (store_open(&store, &cfg, NULL) || catalog_open(&catalog, path, 1, NULL)) return -1;
    const struct content_listener l = catalog_listener(catalog);
    door = content_new();
    content_listen(door, &l);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    content_free(door);
    catalog_close(catalog);
    store_close(store);
    fixture_remove(dir);
    return 0;
}

static struct digest keep(const void *data, size_t len, unsigned flags) {
    struct digest d;
    digest_of(&d, DIGEST_SHA256, data, len);
    struct commit_info info = {
        .size = (int64_t)len, .flags = flags, .media_type = flags & BLOB_MANIFEST ? MEDIA_OCI_MANIFEST : NULL};
    assert_int_equal(put_bytes(store, &d, data, len, &info, NULL), 0);
    return d;
}

static struct catalog_fact look(const struct digest *d) {
    struct catalog_fact f = {.digest = *d};
    catalog_flush(catalog);
    catalog_lookup(catalog, &f, 1, MiB);
    return f;
}

static void held_content_is_learned_again_once(void **state) {
    (void)state;
    struct digest layer = keep("layer", 5, 0), odd = keep("{", 1, BLOB_MANIFEST);
    char text[512], digest[DIGEST_STR_MAX];
    int len = snprintf(text, sizeof(text),
                       "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"layers\":[{\"digest\":\"%s\",\"size\":5}]}",
                       MEDIA_OCI_MANIFEST, digest_str(&layer, digest));
    struct digest manifest = keep(text, (size_t)len, BLOB_MANIFEST);
    struct tag_facts tag = {.digest = manifest, .checked_at = 7, .size = len};
    snprintf(tag.media_type, sizeof(tag.media_type), "%s", MEDIA_OCI_MANIFEST);
    store_tag_set(store, "docker.io/library/app", "v1", &tag);
    store_tag_set(store, "elsewhere.example/app", "v1", &tag); /* an upstream no longer configured */
    assert_int_equal(look(&layer).code, ERR_NOT_FOUND);

    catalog_relearn(catalog, door, store, &rules);
    struct catalog_fact f = look(&layer);
    assert_true(f.code == 0 && f.held && f.size == 5);
    f = look(&odd);
    assert_true(f.code == 0 && f.held && !f.is_manifest);
    f = look(&manifest);
    assert_true(f.code == 0 && f.held && f.is_manifest && f.size == len);
    assert_int_equal(f.manifest.n_children, 1);
    assert_true(digest_eq(&f.manifest.children[0].digest, &layer));
    catalog_fact_fini(&f);
    assert_int_equal(catalog_sequence(catalog), 5); /* three blobs, a manifest, a tag */

    catalog_relearn(catalog, door, store, &rules);
    catalog_flush(catalog);
    assert_int_equal(catalog_sequence(catalog), 5);
    /* Evicted in the catalogue's eyes, yet here. */
    catalog_blob_lost(catalog, &manifest);
    catalog_flush(catalog);
    catalog_relearn(catalog, door, store, &rules);
    f = look(&manifest);
    assert_true(f.held && f.is_manifest);
    catalog_fact_fini(&f);
}

static void more_tags_than_are_read_at_once_are_all_learned(void **state) {
    (void)state;
    struct digest d = keep("x", 1, 0);
    struct tag_facts tag = {.digest = d, .checked_at = 7, .size = 1};
    char name[16];
    for (int i = 0; i < 2500; i++) {
        snprintf(name, sizeof(name), "t%04d", i);
        store_tag_set(store, "docker.io/library/many", name, &tag);
    }
    catalog_relearn(catalog, door, store, &rules);
    catalog_flush(catalog);
    assert_int_equal(catalog_sequence(catalog), 2501);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(held_content_is_learned_again_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_tags_than_are_read_at_once_are_all_learned, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
