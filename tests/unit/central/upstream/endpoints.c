/* Several endpoints of one upstream: which is asked, and which is left alone. */
#include "tests/unit/central/upstream/fixture.h"

static bool hello(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    ok(fd, "", "hello");
    return true;
}

static void upstream_that_is_down_is_not_waited_for_and_found_again(void **state) {
    (void)state;
    script_start(&registry, hello, NULL);
    unsigned port = registry.port;
    script_stop(&registry);
    open_up();
    struct probe p = get(FETCH_BLOB);
    assert_int_equal(p.end.code, ERR_UNREACHABLE);
    assert_non_null(strstr(p.end.msg, "Connection refused"));
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_false(st.reachable);
    int64_t sent = st.sent;
    p = get(FETCH_BLOB);
    assert_int_equal(p.end.code, ERR_UNREACHABLE);
    assert_non_null(strstr(p.end.msg, "Connection refused"));
    upstream_stats(up, &st);
    assert_int_equal(st.sent, sent); /* at once */
    script_start_at(&registry, port, hello, NULL);
    do { /* until a probe in the background has found it */
        p = get(FETCH_BLOB);
    } while (p.end.code == ERR_UNREACHABLE);
    assert_string_equal(p.body, "hello");
    struct upstream_endpoint_state ends[UPSTREAM_ENDPOINTS_MAX];
    assert_int_equal(upstream_endpoints(up, ends), 1);
    assert_true(ends[0].up);
    assert_true(ends[0].failures >= 2 && ends[0].latency_us > 0);
    assert_non_null(strstr(ends[0].last_error, "Connection refused"));
}

static bool second(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/lacks"))
        say_status(fd, 404, "");
    else
        ok(fd, "", "second");
    return true;
}

static bool first(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/sick"))
        say_status(fd, 502, "");
    else if (strstr(head, "/lacks") || strstr(head, "/mine"))
        say_status(fd, 404, "");
    else if (strstr(head, "/locked"))
        say_status(fd, 401, "");
    else
        ok(fd, "", "first");
    return true;
}

static void upstream_asks_the_next_endpoint(void **state) {
    (void)state;
    script_start(&registry, first, NULL);
    two_endpoints(second);
    static const struct {
        const char *repo;
        int code;
        const char *body;
    } cases[] = {{"app", 0, "first"},
                 {"mine", 0, "second"},
                 {"locked", 0, "second"},
                 {"lacks", ERR_NOT_FOUND, ""},
                 {"sick", 0, "second"}};
    /* The second has no speed yet and would be measured first. */
    struct probe warm = {0};
    begin(&warm, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct probe p = {0};
        begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, cases[i].repo);
        loop_run(loop);
        bool any = strcmp(cases[i].repo, "app") == 0; /* whichever is faster */
        if (p.end.code != cases[i].code || (!any && strcmp(p.body, cases[i].body) != 0))
            fail_msg("%s: %d \"%s\" %s", cases[i].repo, p.end.code, p.body, p.end.msg);
    }
}

static void upstream_leaves_a_dead_endpoint_alone(void **state) {
    (void)state;
    script_start(&registry, first, NULL);
    unsigned port = registry.port;
    script_stop(&registry);
    memset(&registry, 0, sizeof(registry));
    registry.port = port;
    limits.probe_ms = 60000;
    two_endpoints(second);
    for (int i = 0; i < 5; i++) {
        struct probe p = get(FETCH_BLOB);
        assert_string_equal(p.body, "second");
    }
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_true(st.sent <= 6); /* the dead one was tried once */
    assert_true(st.reachable);
}

static bool slow(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    usleep(30000);
    ok(fd, "", "slow");
    return true;
}

static void upstream_prefers_the_faster_endpoint(void **state) {
    (void)state;
    script_start(&registry, slow, NULL);
    two_endpoints(second);
    for (int i = 0; i < 3; i++)
        (void)get(FETCH_BLOB);
    struct probe p = get(FETCH_BLOB);
    assert_string_equal(p.body, "second");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_that_is_down_is_not_waited_for_and_found_again),
        T(upstream_asks_the_next_endpoint),
        T(upstream_leaves_a_dead_endpoint_alone),
        T(upstream_prefers_the_faster_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
