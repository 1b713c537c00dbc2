/* `pull` against a scripted registry on a control socket: what it takes of an index, and what it refuses. */
#include "common/cli/puller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/http/server.h"
#include "common/oci/manifest.h"

static struct loop *loop;
static struct http_server *server;
static char dir[64];
static struct node_config node;

/* What the registry has: an index of two platforms, their manifests, one layer shared by both. */
struct object {
    char path[256], text[2048], type[128];
};
static struct object objects[16];
static size_t n_objects;
/* broken: the path whose body has a wrong byte; joined_path: the one whose download was under way */
static const char *cache_status, *broken, *joined_path;

static void object_add(const char *path, const char *type, const char *text) {
    struct object *o = &objects[n_objects++];
    snprintf(o->path, sizeof(o->path), "%s", path);
    snprintf(o->type, sizeof(o->type), "%s", type);
    snprintf(o->text, sizeof(o->text), "%s", text);
}

static void handle(struct http_req *req, void *arg) {
    (void)arg;
    for (size_t i = 0; i < n_objects; i++) {
        const struct object *o = &objects[i];
        if (strcmp(o->path, http_req_target(req)) != 0) continue;
        char body[sizeof(o->text)];
        memcpy(body, o->text, sizeof(body));
        if (broken && strcmp(broken, o->path) == 0) body[strlen(body) - 1] ^= 1;
        bool joined = joined_path && strcmp(joined_path, o->path) == 0;
        http_reply_header(req, "Cache-Status",
                          joined ? "entrepot-edge; fwd=miss; collapsed; detail=\"central\"" : cache_status);
        http_reply(req, 200, o->type, body, strlen(body));
        return;
    }
    static const char no[] = "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"no such thing\"}]}";
    http_reply(req, 404, "application/json", no, sizeof(no) - 1);
}

static void digest_text(const char *text, char out[DIGEST_STR_MAX]) {
    struct digest d;
    digest_of(&d, DIGEST_SHA256, text, strlen(text));
    digest_str(&d, out);
}

/* A blob by its digest; returns its digest in out. */
static void blob_add(const char *text, char out[DIGEST_STR_MAX]) {
    char path[256];
    digest_text(text, out);
    snprintf(path, sizeof(path), "/v2/app/blobs/%s", out);
    object_add(path, "application/octet-stream", text);
}

/* A manifest of config and one layer, by digest. */
static void manifest_add(const char *config, const char *layer, int layer_size, char text[2048],
                         char out[DIGEST_STR_MAX]) {
    char c[DIGEST_STR_MAX], l[DIGEST_STR_MAX], path[256];
    digest_text(config, c);
    digest_text(layer, l);
    snprintf(
        text, 2048,
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"a/b\",\"digest\":\"%s\",\"size\":%zu},"
        "\"layers\":[{\"mediaType\":\"a/b\",\"digest\":\"%s\",\"size\":%d}]}",
        MEDIA_OCI_MANIFEST, c, strlen(config), l, layer_size);
    digest_text(text, out);
    snprintf(path, sizeof(path), "/v2/app/manifests/%s", out);
    object_add(path, MEDIA_OCI_MANIFEST, text);
}

static char layer_path[256], arm_digest[DIGEST_STR_MAX], index_digest[DIGEST_STR_MAX];

static void make_objects(void) {
    char d[DIGEST_STR_MAX], amd[DIGEST_STR_MAX], text[2048], amd_text[2048];
    blob_add("config amd64", d);
    blob_add("config arm64!", d);
    blob_add("the layer", d);
    snprintf(layer_path, sizeof(layer_path), "/v2/app/blobs/%s", d);
    manifest_add("config amd64", "the layer", 9, amd_text, amd);
    manifest_add("config arm64!", "the layer", 9, text, arm_digest);
    char index[2048];
    snprintf(index, sizeof(index),
             "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":["
             "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":"
             "\"amd64\"}},"
             "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":"
             "\"arm64\"}}]}",
             MEDIA_OCI_INDEX, MEDIA_OCI_MANIFEST, amd, strlen(amd_text), MEDIA_OCI_MANIFEST, arm_digest, strlen(text));
    object_add("/v2/app/manifests/v1", MEDIA_OCI_INDEX, index);
    digest_text(index, index_digest);
    manifest_add("config amd64", "the layer", 8, text, d); /* promises too little */
    object_add("/v2/app/manifests/short", MEDIA_OCI_MANIFEST, text);
}

static int set_up(void **state) {
    (void)state;
    char address[128];
    struct error err = {0};
    snprintf(dir, sizeof(dir), "/tmp/entrepot-pull-XXXXXX");
    assert_non_null(mkdtemp(dir));
    node = (struct node_config){.program = "entrepot-edge", .data = dir};
    make_objects();
    loop = loop_new("serve");
    snprintf(address, sizeof(address), "unix:%s/control.sock", dir);
    struct http_server_config cfg = {.address = address, .loops = &loop, .n_loops = 1, .handler = handle};
    http_limits_default(&cfg.limits);
    if (http_server_new(&server, &cfg, &err) < 0) fail_msg("%s", err.msg);
    loop_start(loop);
    return 0;
}

static void drained(void *arg) {
    loop_stop(arg);
}

static int tear_down(void **state) {
    (void)state;
    http_server_drain(server, 1000, drained, loop);
    loop_join(loop);
    http_server_free(server);
    loop_free(loop);
    return rmdir(dir);
}

static int pull(const char *ref, const char *arch, bool all, struct pull_result *r, struct error *err) {
    struct pull_options o = {.node = &node, .os = "linux", .arch = arch, .all = all};
    memset(err, 0, sizeof(*err));
    return pull_image(&o, ref, r, err);
}

static void pull_fetches_the_requested_platform(void **state) {
    (void)state;
    struct pull_result r;
    struct error err;
    cache_status = "entrepot-edge; hit";
    assert_int_equal(pull("app:v1", "amd64", false, &r, &err), 0);
    assert_string_equal(r.digest, index_digest);
    assert_int_equal(r.n_sources, 1);
    assert_string_equal(r.sources[0].source, "store");
    assert_int_equal(r.sources[0].objects, 4); /* index, manifest, config, layer */
    assert_int_equal(r.sources[0].bytes, r.bytes);
}

static void pull_of_all_platforms_fetches_shared_layers_once(void **state) {
    (void)state;
    struct pull_result r;
    struct error err;
    cache_status = "entrepot-edge; fwd=miss; collapsed; detail=\"central\"";
    assert_int_equal(pull("app:v1", "amd64", true, &r, &err), 0);
    assert_string_equal(r.sources[0].source, "central");
    assert_int_equal(r.sources[0].objects, 6);
    assert_int_equal(r.sources[0].joined, 6);
}

static void requests_that_joined_a_download_are_counted_separately(void **state) {
    (void)state;
    struct pull_result r;
    struct error err;
    cache_status = "entrepot-edge; fwd=miss; detail=\"central\"";
    joined_path = layer_path;
    assert_int_equal(pull("app:v1", "amd64", false, &r, &err), 0);
    joined_path = NULL;
    assert_int_equal(r.n_sources, 2);
    assert_string_equal(r.sources[0].source, "central");
    assert_string_equal(r.sources[1].source, "central");
    assert_int_equal(r.sources[0].joined + r.sources[1].joined, 1);
    assert_int_equal(r.sources[0].bytes + r.sources[1].bytes, r.bytes);
}

static void pull_lists_the_platforms_if_none_matches(void **state) {
    (void)state;
    struct pull_result r;
    struct error err;
    assert_int_equal(pull("app:v1", "s390x", false, &r, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "linux/amd64, linux/arm64"));
}

static void pull_refuses_wrong_bytes(void **state) {
    (void)state;
    struct pull_result r;
    struct error err;
    char ref[256], path[256];
    broken = layer_path;
    assert_int_equal(pull("app:v1", "amd64", false, &r, &err), ERR_MISMATCH);
    snprintf(path, sizeof(path), "/v2/app/manifests/%s", arm_digest);
    snprintf(ref, sizeof(ref), "app@%s", arm_digest);
    broken = path;
    assert_int_equal(pull(ref, "amd64", false, &r, &err), ERR_MISMATCH);
    broken = NULL;
    assert_int_equal(pull(ref, "amd64", false, &r, &err), 0);
}

static void pull_refuses_more_bytes_than_announced(void **state) {
    (void)state;
    struct pull_result r;
    struct error err;
    assert_int_equal(pull("app:short", "amd64", false, &r, &err), ERR_TOO_BIG);
}

static void the_registrys_message_is_passed_on(void **state) {
    (void)state;
    struct pull_result r;
    struct error err;
    assert_int_equal(pull("app:none", "amd64", false, &r, &err), ERR_NOT_FOUND);
    assert_string_equal(err.msg, "no such thing");
    assert_int_equal(pull("UPPER CASE", "amd64", false, &r, &err), ERR_INVALID);
}

static void cache_status_tells_the_source(void **state) {
    (void)state;
    char source[128];
    assert_false(pull_cache_status("entrepot-edge; hit", source));
    assert_string_equal(source, "store");
    assert_false(pull_cache_status("entrepot-edge; fwd=miss; detail=\"docker.io\"", source));
    assert_string_equal(source, "docker.io");
    assert_true(pull_cache_status("entrepot-edge; fwd=miss; collapsed; detail=\"central\"", source));
    assert_false(pull_cache_status("x; fwd=miss; detail=\"\033[31m", source));
    assert_string_equal(source, "?[31m");
    assert_false(pull_cache_status("", source));
    assert_string_equal(source, "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pull_fetches_the_requested_platform),
        cmocka_unit_test(pull_of_all_platforms_fetches_shared_layers_once),
        cmocka_unit_test(requests_that_joined_a_download_are_counted_separately),
        cmocka_unit_test(pull_lists_the_platforms_if_none_matches),
        cmocka_unit_test(pull_refuses_wrong_bytes),
        cmocka_unit_test(pull_refuses_more_bytes_than_announced),
        cmocka_unit_test(the_registrys_message_is_passed_on),
        cmocka_unit_test(cache_status_tells_the_source),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
