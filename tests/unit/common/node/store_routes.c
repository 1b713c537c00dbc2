/* The store as a part of a node: its routes, and what it adds to status, readiness and metrics. */
#include "tests/unit/support/api_fixture.h"

#include "common/node/node_part.h"
#include "tests/unit/support/put.h"

static struct node node;
static void *part;

static void status(json_t *into, void *arg) {
    (void)arg;
    part_store.status(into, part);
}

static void ready(json_t *into, void *arg) {
    (void)arg;
    part_store.ready(into, part);
}

static int set_up(void **state) {
    (void)state;
    struct error err = {0};
    api_fixture_init();
    node = (struct node){.config = &fx.node, .pool = fx.pool};
    if (part_store.start(&node, &part, &err) < 0) fail_msg("%s", err.msg);
    store_wait_reconciled(node.store);
    fx.hooks.status = status;
    fx.hooks.ready = ready;
    metrics_collect(part_store.metrics, part);
    routes_add(&fx.routes, part_store.routes, part);
    api_fixture_start();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    part_store.ending(part);
    metrics_uncollect(part_store.metrics, part);
    api_fixture_stop(); /* before the store: the work pool runs the store's last jobs */
    part_store.stop(part);
    return api_fixture_fini();
}

static void put_blob(const char *text) {
    struct digest d;
    struct error err = {0};
    digest_of(&d, DIGEST_SHA256, text, strlen(text));
    struct commit_info info = {.size = (int64_t)strlen(text)};
    if (put_bytes(node.store, &d, text, strlen(text), &info, &err) < 0) fail_msg("%s", err.msg);
}

static void the_stores_numbers_are_in_status_readiness_and_metrics(void **state) {
    (void)state;
    int code;
    struct error err = {0};
    struct buf body;
    json_t *doc = ask_json("GET", "/api/status");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(doc, "store"), "blobs")), 0);
    json_decref(doc);
    buf_init(&body, 0);
    assert_int_equal(ask(true, "GET", "/metrics", &code, &body, &err), 0);
    assert_non_null(strstr(body.data, "\nentrepot_held_blobs "));
    buf_fini(&body);
    health_set(fx.health, "store", NULL);
    doc = ask_json("GET", "/readyz");
    assert_true(json_is_integer(json_object_get(doc, "rotten")));
    assert_true(json_is_integer(json_object_get(doc, "quarantined")));
    json_decref(doc);
}

static void changes_go_through_the_socket_alone(void **state) {
    (void)state;
    int code;
    struct error err = {0};
    assert_int_equal(ask(true, "POST", "/api/verify", &code, NULL, &err), ERR_DENIED);
    assert_int_equal(code, 403);
    assert_int_equal(ask(true, "POST", "/api/prune?target=0", &code, NULL, &err), ERR_DENIED);
    assert_int_equal(code, 403);
    (void)!ask(false, "GET", "/api/prune?target=0", &code, NULL, &err);
    assert_int_equal(code, 405);
}

static void df_ls_and_prune_tell_what_is_held(void **state) {
    (void)state;
    put_blob("one");
    put_blob("another");
    json_t *doc = ask_json("GET", "/api/df");
    assert_int_equal(json_integer_value(json_object_get(doc, "blobs")), 2);
    json_decref(doc);
    doc = ask_json("GET", "/api/ls");
    assert_true(json_is_array(json_object_get(doc, "repositories")));
    json_decref(doc);
    doc = ask_json("GET", "/api/ls?repo=docker.io%2Flibrary%2Fapp");
    assert_string_equal(json_string_value(json_object_get(doc, "repository")), "docker.io/library/app");
    json_decref(doc);
    doc = ask_json("POST", "/api/prune?target=0");
    assert_int_equal(json_integer_value(json_object_get(doc, "freed")), 2 * 4096); /* a block each */
    json_decref(doc);
}

static void verify_streams_to_its_end(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    struct buf body;
    put_blob("to be read again");
    buf_init(&body, 0);
    assert_int_equal(ask(false, "POST", "/api/verify", &status, &body, &err), 0);
    assert_int_equal(body.data[body.len - 1], '\n');
    const char *last = memrchr(body.data, '\n', body.len - 1);
    json_t *doc = json_loads(last ? last + 1 : body.data, 0, NULL);
    const json_t *done = json_object_get(doc, "done");
    assert_int_equal(json_integer_value(json_object_get(done, "checked")), 1);
    assert_int_equal(json_integer_value(json_object_get(done, "bad")), 0);
    json_decref(doc);
    buf_fini(&body);
}

static void prune_refuses_a_target_that_is_no_number_of_bytes(void **state) {
    (void)state;
    int code;
    struct error err = {0};
    static const char *const bad[] = {"",           "?to=0",    "?target=", "?target=9223372036854775808",
                                      "?target=-1", "?target=x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char path[64];
        snprintf(path, sizeof(path), "/api/prune%s", bad[i]);
        assert_int_equal(ask(false, "POST", path, &code, NULL, &err), ERR_INVALID);
        assert_int_equal(code, 400);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stores_numbers_are_in_status_readiness_and_metrics),
        cmocka_unit_test(changes_go_through_the_socket_alone),
        cmocka_unit_test(df_ls_and_prune_tell_what_is_held),
        cmocka_unit_test(verify_streams_to_its_end),
        cmocka_unit_test(prune_refuses_a_target_that_is_no_number_of_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
