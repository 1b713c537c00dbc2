/* An image from a layout on this machine: what is known of it afterwards, and what is not when it could not be
 * recorded. */
#include "tests/unit/central/warehouse/fixture.h"

#include "central/warehouse/load.h"
#include "central/warehouse/hosted_record.h"

#define LAYER_SIZE (2 * (size_t)PIECE_SIZE + 5)

static struct load_target target;
static char layout[256];
static struct digest layer, manifest;
static uint8_t proofs[2 * PIECE_PROOF_MAX]; /* of the layer */
static bool full;                           /* the record's disk */

static int add(const struct content_news *n, struct error *err, void *arg) {
    const struct content_record real = hosted_record(arg);
    return full ? error_set(err, ERR_NO_SPACE, "no room for the record") : real.add(n, err, real.arg);
}

static void write_file(const char *name, const void *data, size_t len) {
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", layout, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static struct digest write_blob(const void *data, size_t len) {
    char name[300], hex[DIGEST_STR_MAX];
    struct digest d;
    digest_of(&d, DIGEST_SHA256, data, len);
    snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(&d, hex));
    write_file(name, data, len);
    return d;
}

static void write_layer(void) {
    unsigned char *data = malloc(LAYER_SIZE);
    struct hasher h;
    assert_non_null(data);
    for (size_t i = 0; i < LAYER_SIZE; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 11);
    layer = write_blob(data, LAYER_SIZE);
    hasher_init(&h, DIGEST_SHA256);
    for (size_t i = 0; i < 2; i++) {
        hasher_update(&h, data + i * (size_t)PIECE_SIZE, (size_t)PIECE_SIZE);
        hasher_proof(&h, proofs + i * digest_len(DIGEST_SHA256));
    }
    free(data);
}

static void write_layout(void) {
    static const char *const folders[] = {"", "/blobs", "/blobs/sha256"};
    char path[300], text[512], digest[DIGEST_STR_MAX];
    fixture_dir(layout);
    for (size_t i = 1; i < ARRAY_LEN(folders); i++) {
        snprintf(path, sizeof(path), "%s%s", layout, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    write_layer();
    int len = snprintf(text, sizeof(text),
                       "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"layers\":[{\"digest\":\"%s\",\"size\":%zu}]}",
                       MEDIA_OCI_MANIFEST, digest_str(&layer, digest), LAYER_SIZE);
    manifest = write_blob(text, (size_t)len);
    len = snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\",\"size\":%d}]}",
                   digest_str(&manifest, digest), len);
    write_file("index.json", text, (size_t)len);
}

static int set_up_load(void **state) {
    if (set_up(state) < 0) return -1;
    write_layout();
    full = false;
    content_set_record(door, &(struct content_record){.add = add, .arg = record});
    target = (struct load_target){.store = store, .record = record, .content = door, .rules = &rules};
    return 0;
}

static int tear_down_load(void **state) {
    fixture_remove(layout);
    return tear_down(state);
}

static struct catalog_fact look(const struct digest *d) {
    struct catalog_fact f = {.digest = *d, .want_proofs = true};
    catalog_flush(catalog);
    catalog_lookup(catalog, &f, 1, MiB);
    return f;
}

static void what_is_loaded_is_known_with_the_proofs_of_its_pieces(void **state) {
    (void)state;
    struct error err = {0};
    struct tag_facts rec;
    json_t *result = NULL;
    if (load_image(&target, layout, -1, "acme/app:v1", &result, &err) < 0) fail_msg("%s", err.msg);
    json_decref(result);
    assert_true(hosted_has_tag(record, "acme/app", "v1"));
    assert_true(store_tag_get(store, "acme/app", "v1", &rec) && digest_eq(&rec.digest, &manifest));

    struct catalog_fact f = look(&layer);
    assert_true(f.code == 0 && f.held && f.size == (int64_t)LAYER_SIZE);
    assert_int_equal(f.proofs_len, 2 * digest_len(DIGEST_SHA256));
    assert_memory_equal(f.proofs, proofs, f.proofs_len);
    catalog_fact_fini(&f);
    f = look(&manifest);
    assert_true(f.code == 0 && f.held && f.is_manifest);
    assert_int_equal(f.manifest.n_children, 1);
    catalog_fact_fini(&f);
    struct hosted_blob b;
    char **repos;
    assert_int_equal(hosted_find(record, "acme/app", &manifest, &b, &repos, &err), 0);
    assert_string_equal(b.media_type, MEDIA_OCI_MANIFEST);
    assert_int_equal(b.n_children, 1);
    assert_true(digest_eq(&b.children[0], &layer));
    hosted_blob_fini(&b);
    hosted_repos_free(repos);
}

static void content_that_could_not_be_recorded_is_neither_hosted_nor_known(void **state) {
    (void)state;
    struct error err = {0};
    struct tag_facts rec;
    struct blob_info info;
    json_t *result = NULL;
    full = true;
    assert_int_equal(load_image(&target, layout, -1, "acme/app:v1", &result, &err), ERR_NO_SPACE);
    assert_null(result);
    assert_false(hosted_has_tag(record, "acme/app", "v1"));
    assert_false(store_tag_get(store, "acme/app", "v1", &rec));
    assert_true(store_lookup(store, &layer, &info) && !(info.flags & BLOB_HOSTED)); /* and may be evicted again */
    assert_int_equal(look(&layer).code, ERR_NOT_FOUND);
    full = false;
    assert_int_equal(load_image(&target, layout, -1, "acme/app:v1", &result, &err), 0);
    json_decref(result);
    struct catalog_fact f = look(&layer);
    assert_true(f.code == 0 && f.proofs_len > 0);
    catalog_fact_fini(&f);
}

static void a_load_ends_soon_when_the_process_is_about_to_stop(void **state) {
    (void)state;
    struct error err = {0};
    json_t *result = NULL;
    store_stop_bulk(store);
    assert_int_equal(load_image(&target, layout, -1, "acme/app:v1", &result, &err), ERR_CANCELLED);
    assert_null(result);
    assert_false(hosted_has_tag(record, "acme/app", "v1"));
    assert_false(store_lookup(store, &layer, &(struct blob_info){0}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_loaded_is_known_with_the_proofs_of_its_pieces, set_up_load,
                                        tear_down_load),
        cmocka_unit_test_setup_teardown(content_that_could_not_be_recorded_is_neither_hosted_nor_known, set_up_load,
                                        tear_down_load),
        cmocka_unit_test_setup_teardown(a_load_ends_soon_when_the_process_is_about_to_stop, set_up_load,
                                        tear_down_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
