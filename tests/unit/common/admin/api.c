/* The admin port and the control socket over the real HTTP server and store, asked through the commands' own client. */
#include "common/admin/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/control_client.h"
#include "common/admin/job.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/put.h"

struct fixture {
    char dir[64], socket[128];
    struct node_config node;
    struct loop *loop;
    struct workpool *pool;
    struct store *store;
    struct health *health;
    struct route_table routes;
    struct api *api;
    struct http_server *tcp, *unix_server;
};
static struct fixture fx;

static void more_status(json_t *into, void *arg) {
    (void)arg;
    json_object_set_new(into, "default_upstream", json_string("docker.io"));
}

static void v2(struct http_req *req, void *arg) {
    (void)arg;
    http_reply_header(req, "Cache-Status", "entrepot-test; fwd=miss; collapsed; detail=\"central\"");
    http_reply(req, 200, "application/json", "{}", 2);
}

/* A route as a part of a node brings it. */
static void run_load(struct job *j) {
    struct error err = {0};
    if (strcmp(j->a, "/lay out") == 0) {
        job_json(j, 200, json_pack("{s:s}", "loaded", j->b));
        return;
    }
    error_set(&err, ERR_NOT_FOUND, "no layout at %s", j->a);
    job_error(j, &err);
}

static void post_load(struct http_req *req, void *arg) {
    (void)arg;
    char layout[QUERY_PARAM_MAX], ref[QUERY_PARAM_MAX];
    if (query_param(http_req_target(req), "layout", layout) != 1 || query_param(http_req_target(req), "ref", ref) != 1)
        api_reply_error(req, 400, "layout and ref are needed", "");
    else
        job_start(&(struct job_order){.pool = fx.pool, .run = run_load, .a = layout, .b = ref}, req);
}

static void never(struct http_req *req, void *arg) {
    (void)req;
    (void)arg;
    fail();
}

static const struct route part_routes[] = {
    {"/api/load", METHODS_POST, PORT_CONTROL, post_load}, {"/fleet/v1/lookup", METHODS_POST, PORT_NODE, never}, {0}};

static struct http_server *serve(const char *address, void (*handler)(struct http_req *, void *)) {
    struct http_server *s;
    struct error err = {0};
    struct http_server_config cfg = {
        .address = address, .loops = &fx.loop, .n_loops = 1, .handler = handler, .arg = fx.api};
    http_limits_default(&cfg.limits);
    if (http_server_new(&s, &cfg, &err) < 0) fail_msg("%s", err.msg);
    return s;
}

static int set_up(void **state) {
    (void)state;
    static char listen[] = ":5050", program[] = "entrepot-edge";
    struct error err = {0};
    snprintf(fx.dir, sizeof(fx.dir), "/tmp/entrepot-api-XXXXXX");
    assert_non_null(mkdtemp(fx.dir));
    fx.node = (struct node_config){.kind = NODE_EDGE, .program = program, .data = fx.dir, .registry_listen = listen};
    fx.loop = loop_new("serve");
    fx.pool = workpool_new("work", 2);
    fx.health = health_new();
    struct store_config cfg = {.dir = fx.dir, .pool = fx.pool};
    if (store_open(&fx.store, &cfg, &err) < 0) fail_msg("%s", err.msg);
    struct api_hooks hooks = {.parts = {.node = &fx.node, .health = fx.health, .store = fx.store},
                              .pool = fx.pool,
                              .status = more_status,
                              .routes = &fx.routes,
                              .v2 = v2};
    fx.routes = (struct route_table){0};
    routes_add(&fx.routes, part_routes, NULL);
    fx.api = api_new(&hooks);
    snprintf(fx.socket, sizeof(fx.socket), "unix:%s/control.sock", fx.dir);
    fx.unix_server = serve(fx.socket, api_handle_control);
    fx.tcp = serve("127.0.0.1:0", api_handle_admin);
    loop_start(fx.loop);
    return 0;
}

static void drained(void *arg) {
    int *left = arg;
    if (--*left == 0) loop_stop(fx.loop);
}

static int tear_down(void **state) {
    (void)state;
    static int left = 2;
    api_stop(fx.api);
    http_server_drain(fx.tcp, 1000, drained, &left);
    http_server_drain(fx.unix_server, 1000, drained, &left);
    loop_join(fx.loop);
    http_server_free(fx.tcp);
    http_server_free(fx.unix_server);
    workpool_free(fx.pool); /* before the store: it runs the store's last jobs */
    store_close(fx.store);
    loop_free(fx.loop);
    api_free(fx.api);
    health_free(fx.health);
    return folder_remove(fx.dir);
}

/* Asks; returns the code, *status, and the body if wanted. */
static bool keep(const void *data, size_t len, void *arg) {
    return buf_add(arg, data, len) == 0;
}

static int ask(bool tcp, const char *method, const char *path, int *status, struct buf *body, struct error *err) {
    struct control *c;
    struct control_answer a = {0};
    char base[64];
    snprintf(base, sizeof(base), "http://127.0.0.1:%u", http_server_port(fx.tcp));
    struct control_request rq = {.method = method, .path = path, .data = body ? keep : NULL, .arg = body};
    int r = tcp ? control_open_url(&c, &fx.node, base, false, err) : control_open(&c, &fx.node, err);
    assert_int_equal(r, 0);
    r = control_ask(c, &rq, &a, err);
    control_close(c);
    *status = a.status;
    return r;
}

static json_t *ask_json(const char *method, const char *path) {
    struct control *c;
    struct error err = {0};
    json_t *doc = NULL;
    assert_int_equal(control_open(&c, &fx.node, &err), 0);
    if (control_json(c, method, path, &doc, &err) < 0) fail_msg("%s: %s", path, err.msg);
    control_close(c);
    return doc;
}

static void ready_only_when_every_condition_is_met(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    assert_int_equal(ask(true, "GET", "/healthz", &status, NULL, &err), 0);
    assert_true(ask(true, "GET", "/readyz", &status, NULL, &err) < 0);
    assert_int_equal(status, 503);
    health_set(fx.health, "store", NULL);
    health_set(fx.health, "central", "never reached yet");
    assert_true(ask(true, "GET", "/readyz", &status, NULL, &err) < 0);
    json_t *doc = health_json(fx.health);
    assert_int_equal(json_array_size(json_object_get(doc, "reasons")), 1);
    json_decref(doc);
    health_set(fx.health, "central", NULL);
    assert_int_equal(ask(true, "GET", "/readyz", &status, NULL, &err), 0);
}

static void metrics_page_holds_the_stores_numbers(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    struct buf body;
    buf_init(&body, 0);
    assert_int_equal(ask(true, "GET", "/metrics", &status, &body, &err), 0);
    assert_non_null(strstr(body.data, "\nentrepot_held_blobs "));
    assert_non_null(strstr(body.data, "\nentrepot_build_info{version=\""));
    buf_fini(&body);
}

static void changes_go_through_the_socket_alone(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    static const char *const paths[] = {"/api/verify", "/api/prune?target=0", "/api/load?layout=/x&ref=a:b"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ask(true, "POST", paths[i], &status, NULL, &err), ERR_DENIED);
        assert_int_equal(status, 403);
    }
    (void)!ask(true, "GET", "/api/doctor", &status, NULL, &err);
    assert_int_equal(status, 403);
    (void)!ask(true, "POST", "/api/status", &status, NULL, &err);
    assert_int_equal(status, 405);
    (void)!ask(false, "GET", "/api/prune?target=0", &status, NULL, &err);
    assert_int_equal(status, 405);
    (void)!ask(true, "GET", "/v2/", &status, NULL, &err);
    assert_int_equal(status, 404);
    (void)!ask(false, "POST", "/fleet/v1/lookup", &status, NULL, &err);
    assert_int_equal(status, 404);
    (void)!ask(true, "GET", "/api/statusx", &status, NULL, &err);
    assert_int_equal(status, 404);
}

static void status_has_the_nodes_own_words_laid_over(void **state) {
    (void)state;
    json_t *doc = ask_json("GET", "/api/status");
    assert_string_equal(json_string_value(json_object_get(doc, "program")), "entrepot-edge");
    assert_true(json_is_object(json_object_get(doc, "store")));
    assert_string_equal(json_string_value(json_object_get(doc, "default_upstream")), "docker.io");
    json_decref(doc);
}

static void put_blob(const char *text) {
    struct digest d;
    struct error err = {0};
    digest_of(&d, DIGEST_SHA256, text, strlen(text));
    struct commit_info info = {.size = (int64_t)strlen(text)};
    if (put_bytes(fx.store, &d, text, strlen(text), &info, &err) < 0) fail_msg("%s", err.msg);
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

static void load_decodes_its_parameters_and_passes_errors_on(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    json_t *doc = ask_json("POST", "/api/load?layout=%2Flay%20out&ref=sample%2Fhello%3Alatest");
    assert_string_equal(json_string_value(json_object_get(doc, "loaded")), "sample/hello:latest");
    json_decref(doc);
    assert_int_equal(ask(false, "POST", "/api/load?layout=/none&ref=a:b", &status, NULL, &err), ERR_NOT_FOUND);
    assert_string_equal(err.msg, "no layout at /none");
    static const char *const bad[] = {"/api/load",
                                      "/api/load?layout=%zz&ref=a",
                                      "/api/load?layout=%2&ref=a",
                                      "/api/load?layout=/x%00&ref=a",
                                      "/api/prune",
                                      "/api/prune?to=0",
                                      "/api/prune?target=",
                                      "/api/prune?target=9223372036854775808",
                                      "/api/prune?target=-1",
                                      "/api/prune?target=x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(ask(false, "POST", bad[i], &status, NULL, &err), ERR_INVALID);
        assert_int_equal(status, 400);
    }
}

static void the_registry_api_is_on_the_socket(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    assert_int_equal(ask(false, "GET", "/v2/", &status, NULL, &err), 0);
}

static void without_a_daemon_the_error_says_how_to_start_one(void **state) {
    (void)state;
    static char data[] = "/nonexistent/data", file[] = "/etc/entrepot/edge.yaml";
    struct node_config node = fx.node;
    struct control *c;
    struct error err = {0};
    json_t *doc = NULL;
    node.data = data;
    node.config_file = file;
    assert_int_equal(control_open(&c, &node, &err), 0);
    assert_int_equal(control_json(c, "GET", "/api/status", &doc, &err), ERR_UNREACHABLE);
    control_close(c);
    assert_string_equal(err.msg, "no entrepot-edge is running on /nonexistent/data");
    assert_string_equal(err.hint, "start it with `entrepot-edge serve --config /etc/entrepot/edge.yaml`");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_only_when_every_condition_is_met),
        cmocka_unit_test(metrics_page_holds_the_stores_numbers),
        cmocka_unit_test(changes_go_through_the_socket_alone),
        cmocka_unit_test(status_has_the_nodes_own_words_laid_over),
        cmocka_unit_test(df_ls_and_prune_tell_what_is_held),
        cmocka_unit_test(verify_streams_to_its_end),
        cmocka_unit_test(load_decodes_its_parameters_and_passes_errors_on),
        cmocka_unit_test(the_registry_api_is_on_the_socket),
        cmocka_unit_test(without_a_daemon_the_error_says_how_to_start_one),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
