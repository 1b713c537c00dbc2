/* The admin port and the control socket: their own routes, and those that a part of a node brings. */
#include "tests/unit/support/api_fixture.h"

#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

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
    struct stat st;
    if (strcmp(j->a, "/passed") == 0) {
        bool reached = j->passed >= 0 && fstatat(j->passed, "control.sock", &st, 0) == 0;
        job_json(j, 200, json_pack("{s:b}", "reached", reached));
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
        job_start(&(struct job_order){.pool = fx.pool, .run = run_load, .a = layout, .b = ref, .takes_passed = true},
                  req);
}

static void never(struct http_req *req, void *arg) {
    (void)req;
    (void)arg;
    fail();
}

static const struct route part_routes[] = {
    {"/api/load", METHODS_POST, PORT_CONTROL, post_load}, {"/fleet/v1/lookup", METHODS_POST, PORT_NODE, never}, {0}};

static void more_ready(json_t *into, void *arg) {
    (void)arg;
    json_object_set_new(into, "rotten", json_integer(0));
}

static int set_up(void **state) {
    (void)state;
    api_fixture_init();
    fx.hooks.status = more_status;
    fx.hooks.ready = more_ready;
    fx.hooks.v2 = v2;
    routes_add(&fx.routes, part_routes, NULL);
    api_fixture_start();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    api_fixture_stop();
    return api_fixture_fini();
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

static void metrics_page_says_which_build_runs(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    struct buf body;
    buf_init(&body, 0);
    assert_int_equal(ask(true, "GET", "/metrics", &status, &body, &err), 0);
    assert_non_null(strstr(body.data, "\nentrepot_build_info{version=\""));
    buf_fini(&body);
}

static void changes_go_through_the_socket_alone(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    assert_int_equal(ask(true, "POST", "/api/load?layout=/x&ref=a:b", &status, NULL, &err), ERR_DENIED);
    assert_int_equal(status, 403);
    (void)!ask(true, "GET", "/api/doctor", &status, NULL, &err);
    assert_int_equal(status, 403);
    (void)!ask(true, "POST", "/api/status", &status, NULL, &err);
    assert_int_equal(status, 405);
    (void)!ask(false, "GET", "/api/load?layout=/x&ref=a:b", &status, NULL, &err);
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
    assert_true(json_is_object(json_object_get(doc, "memory")));
    assert_string_equal(json_string_value(json_object_get(doc, "default_upstream")), "docker.io");
    json_decref(doc);
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
    static const char *const bad[] = {"/api/load", "/api/load?layout=%zz&ref=a", "/api/load?layout=%2&ref=a",
                                      "/api/load?layout=/x%00&ref=a"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(ask(false, "POST", bad[i], &status, NULL, &err), ERR_INVALID);
        assert_int_equal(status, 400);
    }
}

static unsigned open_descriptors(void) {
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* Descriptors of a connection are closed a moment after its client has gone. Returns how many are open at the end. */
static unsigned descriptors_after_waiting(unsigned wanted) {
    unsigned n = open_descriptors();
    for (int i = 0; n != wanted && i < 5000; i++, n = open_descriptors())
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return n;
}

static bool reached(struct control *c, int folder) {
    struct error err = {0};
    json_t *doc = NULL;
    static const char path[] = "/api/load?layout=/passed&ref=a:b";
    int r = folder < 0 ? control_json(c, "POST", path, &doc, &err) : control_post_passing(c, path, folder, &doc, &err);
    if (r < 0) fail_msg("%s", err.msg);
    bool is = json_is_true(json_object_get(doc, "reached"));
    json_decref(doc);
    return is;
}

static void a_passed_descriptor_reaches_its_job_and_no_other(void **state) {
    (void)state;
    unsigned before = open_descriptors();
    int folder = open(fx.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(folder >= 0);
    struct control *c;
    struct error err = {0};
    assert_int_equal(control_open(&c, &fx.node, &err), 0);
    assert_false(reached(c, -1));
    assert_true(reached(c, folder));
    assert_false(reached(c, -1));
    assert_true(reached(c, folder));
    control_close(c);
    close(folder);
    assert_int_equal(descriptors_after_waiting(before), before);
}

/* As many as the kernel takes, twice, for a request that wants none. */
static void passed_descriptors_that_nobody_takes_are_closed(void **state) {
    (void)state;
    enum { N = 253 };
    static const char head[] = "GET /api/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(N * sizeof(int))];
    } control = {0};
    unsigned before = open_descriptors();
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.90s/control.sock", fx.dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    for (size_t half = 0; half < 2; half++) {
        size_t len = strlen(head) / 2, at = half * len;
        struct iovec iov = {.iov_base = (void *)(uintptr_t)(head + at), .iov_len = half ? strlen(head) - at : len};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        *h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(N * sizeof(int))};
        for (size_t i = 0; i < N; i++)
            memcpy(CMSG_DATA(h) + i * sizeof(int), &fd, sizeof(int));
        assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), iov.iov_len);
    }
    char answer[4096];
    ssize_t n = read(fd, answer, sizeof(answer));
    assert_true(n > 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0);
    while (n > 0)
        n = read(fd, answer, sizeof(answer));
    close(fd);
    assert_int_equal(descriptors_after_waiting(before), before);
}

static void the_registry_api_is_on_the_socket(void **state) {
    (void)state;
    int status;
    struct error err = {0};
    assert_int_equal(ask(false, "GET", "/v2/", &status, NULL, &err), 0);
}

static void root_is_told_to_start_the_service_where_the_folder_is_another_users(void **state) {
    (void)state;
    char data[] = "/tmp/entrepot-api-XXXXXX";
    struct node_config node = fx.node;
    struct error err = {0};
    assert_non_null(mkdtemp(data));
    node.data = data;
    node.config_file = NULL;
    control_no_daemon_hint(&node, &err);
    assert_null(strstr(err.hint, "systemctl")); /* one's own folder */
    if (geteuid() == 0) {
        assert_int_equal(chown(data, 65534, 65534), 0);
        control_no_daemon_hint(&node, &err);
        assert_string_equal(err.hint,
                            "start it with `systemctl start entrepot-edge`, or as the user whose folder that is");
    }
    assert_int_equal(rmdir(data), 0);
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
        /* These two count descriptors: no connection of an earlier test is about to be closed. */
        cmocka_unit_test(a_passed_descriptor_reaches_its_job_and_no_other),
        cmocka_unit_test(passed_descriptors_that_nobody_takes_are_closed),
        cmocka_unit_test(ready_only_when_every_condition_is_met),
        cmocka_unit_test(metrics_page_says_which_build_runs),
        cmocka_unit_test(changes_go_through_the_socket_alone),
        cmocka_unit_test(status_has_the_nodes_own_words_laid_over),
        cmocka_unit_test(load_decodes_its_parameters_and_passes_errors_on),
        cmocka_unit_test(the_registry_api_is_on_the_socket),
        cmocka_unit_test(without_a_daemon_the_error_says_how_to_start_one),
        cmocka_unit_test(root_is_told_to_start_the_service_where_the_folder_is_another_users),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
