/* What manifests and indexes refer to, and what is refused of hostile ones. */
#include "common/oci/manifest.h"

#include "common/core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
#define D(c) "sha256:" HEX c

static int parse(struct manifest *m, const char *json) {
    struct error err = {0};
    int r = manifest_parse(m, json, strlen(json), &err);
    assert_int_equal(err.code, r);
    return r;
}

static void an_image_lists_config_layers_and_subject(void **state) {
    (void)state;
    struct manifest m;
    assert_int_equal(parse(&m,
                           "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                           "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" D(
                               "0") "\",\"size\":7},"
                                    "\"layers\":[{\"digest\":\"" D(
                                        "1") "\",\"size\":0},"
                                             "{\"mediaType\":\"application/"
                                             "vnd.oci.image.layer.nondistributable.v1.tar\",\"digest\":\"" D(
                                                 "2") "\",\"size\":9},"
                                                      "{\"mediaType\":\"application/"
                                                      "vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"digest\":\"" D(
                                                          "3") "\"}],"
                                                               "\"subject\":{\"digest\":\"" D("4") "\",\"size\":5}}"),
                     0);
    assert_string_equal(m.media_type, MEDIA_OCI_MANIFEST);
    assert_string_equal(m.artifact_type, "application/vnd.oci.image.config.v1+json");
    assert_false(m.is_index);
    assert_int_equal(m.n_children, 5);
    static const enum child_kind kinds[] = {CHILD_CONFIG, CHILD_LAYER, CHILD_LAYER, CHILD_LAYER, CHILD_SUBJECT};
    static const int64_t sizes[] = {7, 0, 9, -1, 5};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(m.children[i].kind, kinds[i]);
        assert_int_equal(m.children[i].size, sizes[i]);
        assert_int_equal(m.children[i].foreign, i == 2 || i == 3);
    }
    manifest_fini(&m);
}

static void an_index_lists_its_platforms(void **state) {
    (void)state;
    struct manifest m;
    assert_int_equal(
        parse(&m, "{\"manifests\":[{\"digest\":\"" D(
                      "1") "\",\"size\":5,\"platform\":{\"os\":\"linux\","
                           "\"architecture\":\"arm\",\"variant\":\"v7\"}},{\"digest\":\"" D("2") "\",\"size\":6}]}"),
        0);
    assert_true(m.is_index);
    assert_string_equal(m.media_type, MEDIA_OCI_INDEX);
    assert_int_equal(m.n_children, 2);
    assert_string_equal(m.children[0].os, "linux");
    assert_string_equal(m.children[0].arch, "arm");
    assert_string_equal(m.children[0].variant, "v7");
    assert_string_equal(m.children[1].os, "");
    manifest_fini(&m);
}

static void unknown_documents_have_no_children(void **state) {
    (void)state;
    struct manifest m;
    assert_int_equal(parse(&m, "{\"hello\":[1,2,{\"digest\":\"x\"}],\"layers\":7,\"config\":[],\"manifests\":null}"),
                     0);
    assert_int_equal(m.n_children, 0);
    assert_string_equal(m.media_type, "");
    manifest_fini(&m);
    assert_int_equal(
        parse(&m, "{\"layers\":[{\"digest\":\"md5:aa\"},{\"digest\":\"sha256:1\"},{},7,\"x\"],\"config\":{}}"), 0);
    assert_int_equal(m.n_children, 0);
    assert_string_equal(m.media_type, MEDIA_OCI_MANIFEST);
    manifest_fini(&m);
}

static void absurd_sizes_are_unknown_sizes(void **state) {
    (void)state;
    static const char *const sizes[] = {
        "-1", "1.5", "99999999999999999999999999", "1e300", "\"7\"", "null", "9007199254740993"};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char json[300];
        snprintf(json, sizeof(json), "{\"layers\":[{\"digest\":\"" D("1") "\",\"size\":%s}]}", sizes[i]);
        struct manifest m;
        assert_int_equal(parse(&m, json), 0);
        assert_int_equal(m.n_children, 1);
        assert_int_equal(m.children[0].size, -1);
        manifest_fini(&m);
    }
    struct manifest m;
    assert_int_equal(parse(&m, "{\"layers\":[{\"digest\":\"" D("1") "\",\"size\":9007199254740991}]}"), 0);
    assert_int_equal(m.children[0].size, 9007199254740991);
    manifest_fini(&m);
}

static void odd_strings_are_left_out(void **state) {
    (void)state;
    struct manifest m;
    assert_int_equal(
        parse(&m, "{\"mediaType\":\"a/b\\u0000c\",\"artifactType\":\"no slash\",\"manifests\":[{\"digest\":\"" D(
                      "1") "\",\"platform\":{\"os\":\"0123456789012345678901234567890123456789\",\"architecture\":"
                           "\"a\\u0000b\",\"variant\":[]}},{\"digest\":\"" D("1") "\\u0000\"}]}"),
        0);
    assert_string_equal(m.artifact_type, "");
    assert_int_equal(m.n_children, 1);
    assert_string_equal(m.children[0].os, "");
    assert_string_equal(m.children[0].arch, "");
    manifest_fini(&m);
}

static void what_is_not_a_json_object_is_invalid(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "[]",
                                      "7",
                                      "\"x\"",
                                      "{",
                                      "{}x",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1e999}",
                                      "<html>",
                                      "{\"layers\":[{\"digest\":\"x\",\"digest\":\"y\"}]}",
                                      "\x1f\x8b\x08\x01\x02",
                                      "{\"\xff\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct manifest m;
        assert_int_equal(parse(&m, bad[i]), ERR_INVALID);
        manifest_fini(&m);
    }
    struct manifest m;
    assert_int_equal(manifest_parse(&m, "{\"a\":1}\0", 8, NULL), ERR_INVALID);
    manifest_fini(&m);
}

static void a_document_that_is_image_and_index_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"manifests\":[{}],\"layers\":[{}]}",
        "{\"manifests\":[{}],\"config\":{}}",
        "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"manifests\":[{}]}",
        "{\"mediaType\":\"application/vnd.docker.distribution.manifest.list.v2+json\",\"layers\":[{}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct manifest m;
        assert_int_equal(parse(&m, bad[i]), ERR_INVALID);
        manifest_fini(&m);
    }
}

/* Repeats a piece n times between two ends and parses it. */
static int parse_many(const char *head, const char *piece, size_t n, const char *tail, size_t *children) {
    struct buf b;
    buf_init(&b, 0);
    int r = buf_add_str(&b, head);
    for (size_t i = 0; i < n && r == 0; i++)
        r = buf_add_str(&b, piece);
    if (r == 0) r = buf_add_str(&b, tail);
    assert_int_equal(r, 0);
    struct manifest m;
    r = manifest_parse(&m, b.data, b.len, NULL);
    *children = m.n_children;
    manifest_fini(&m);
    buf_fini(&b);
    return r;
}

static void size_depth_and_counts_are_bounded(void **state) {
    (void)state;
    size_t n;
    assert_int_equal(parse_many("{\"layers\":[{}", ",{\"digest\":\"" D("1") "\"}", MANIFEST_MAX_CHILDREN, "]}", &n), 0);
    assert_int_equal(n, MANIFEST_MAX_CHILDREN);
    assert_int_equal(parse_many("{\"layers\":[{}", ",{\"digest\":\"" D("1") "\"}", MANIFEST_MAX_CHILDREN + 1, "]}", &n),
                     ERR_TOO_BIG);
    assert_int_equal(parse_many("{\"a\":", "[", 100000, "", &n), ERR_INVALID);
    assert_int_equal(parse_many("{\"a\":[{}", ",{}", 2000000, "]}", &n), ERR_TOO_BIG);
    assert_int_equal(parse_many("{\"a\":[0", ",0", 300000, "]}", &n), ERR_TOO_BIG);
    assert_int_equal(parse_many("{\"a\":{\"b\":0", ",\"c\":0", 300000, "}}", &n), ERR_TOO_BIG);
    assert_int_equal(parse_many("{\"a\":\"", "[{,\\\"", 300000, "\"}", &n), 0);
    assert_int_equal(parse_many("{}", " ", MANIFEST_MAX_BYTES, "", &n), ERR_TOO_BIG);
}

static void media_types_are_cleaned(void **state) {
    (void)state;
    char out[MEDIA_TYPE_MAX + 1], lots[400];
    media_type_clean(" application/json; charset=utf-8", out);
    assert_string_equal(out, "application/json");
    static const char *const bad[] = {"", "x", "/", "a/", "/b", "a/b/c", "a/\"b", "a/b\r\nX: y", ";a/b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        media_type_clean(bad[i], out);
        assert_string_equal(out, "");
    }
    media_type_clean(NULL, out);
    assert_string_equal(out, "");
    memset(lots, 'a', sizeof(lots) - 1);
    lots[1] = '/';
    lots[sizeof(lots) - 1] = '\0';
    media_type_clean(lots, out);
    assert_string_equal(out, "");
    assert_true(media_is_manifest("application/vnd.oci.image.index.v1+json;x=y"));
    assert_true(media_is_manifest(MEDIA_DOCKER_LIST));
    assert_false(media_is_manifest("application/json"));
    assert_false(media_is_manifest(NULL));
}

static bool judged(const char *json) {
    struct manifest m;
    bool is_one;
    int r = manifest_judge(&m, json, strlen(json), &is_one);
    manifest_fini(&m);
    struct manifest alone;
    assert_int_equal(r, manifest_parse(&alone, json, strlen(json), NULL));
    manifest_fini(&alone);
    return is_one;
}

static void a_manifest_says_what_it_is(void **state) {
    (void)state;
    static const char *const good[] = {
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}",
        "{\"schemaVersion\":1,\"name\":\"a\",\"tag\":\"b\",\"fsLayers\":[],\"history\":[]}",
        "{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\",\"artifactType\":\"a/b\"}",
        "{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\",\"artifactType\":\"a/b\",\"blobs\":[]}",
        "{\"config\":{},\"layers\":[]}",
        "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"layers\":[]}",
        "{\"manifests\":[]}"};
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "<html></html>",
                                      "{\"errors\":[{\"code\":\"DENIED\"}]}",
                                      "{\"schemaVersion\":2,\"layers\":[",
                                      "{\"schemaVersion\":\"2\"}",
                                      "{\"mediaType\":7}",
                                      "{\"schemaVersion\":2}",
                                      "{\"mediaType\":\"application/vnd.acme.thing+json\"}",
                                      "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\"}",
                                      "{\"schemaVersion\":2,\"layers\":[]}",
                                      "{\"schemaVersion\":2,\"config\":{}}",
                                      "{\"schemaVersion\":2,\"fsLayers\":[]}",
                                      "{\"blobs\":[]}",
                                      "\"schemaVersion\""};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(manifest_is_one(good[i], strlen(good[i])) && judged(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(manifest_is_one(bad[i], strlen(bad[i])) || judged(bad[i]));
    assert_true(judged("{\"schemaVersion\":2,\"manifests\":[],\"a\":1,\"a\":1}"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_lists_config_layers_and_subject),
        cmocka_unit_test(an_index_lists_its_platforms),
        cmocka_unit_test(unknown_documents_have_no_children),
        cmocka_unit_test(absurd_sizes_are_unknown_sizes),
        cmocka_unit_test(odd_strings_are_left_out),
        cmocka_unit_test(what_is_not_a_json_object_is_invalid),
        cmocka_unit_test(a_document_that_is_image_and_index_is_refused),
        cmocka_unit_test(size_depth_and_counts_are_bounded),
        cmocka_unit_test(media_types_are_cleaned),
        cmocka_unit_test(a_manifest_says_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
