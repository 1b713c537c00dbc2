/* When an upstream is asked again, and when it is not. */
#include "tests/unit/common/upstream/fixture.h"

static bool flaky(struct script_server *s, int fd, const char *head) {
    (void)s;
    int n = atomic_fetch_add(&count, 1);
    if (strstr(head, "/reset") && n < 2) {
        script_reset(fd);
        return false;
    }
    if (strstr(head, "/five") && n < 2) {
        say_status(fd, 500, "");
        return true;
    }
    if (strstr(head, "/headonly") && n == 0) {
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
        return false;
    }
    if (strstr(head, "/changes") && n == 0) {
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
        return false;
    }
    if (strstr(head, "/middle")) {
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbet");
        return false;
    }
    if (strstr(head, "/soon") && n == 0) {
        say_status(fd, 429, "Retry-After: 1\r\n");
        return true;
    }
    if (strstr(head, "/busy") && n == 0) {
        say_status(fd, 503, "Retry-After: 1\r\n");
        return true;
    }
    if (strstr(head, "/later")) {
        say_status(fd, 503, "Retry-After: 100\r\n");
        return true;
    }
    ok(fd, "", "better");
    return true;
}

static void set_true(void *arg) {
    *(bool *)arg = true;
}

static void upstream_tries_again_only_while_nothing_was_told(void **state) {
    (void)state;
    static const struct {
        const char *repo;
        int code, requests;
        const char *body;
    } cases[] = {
        {"reset", 0, 3, "better"},      {"five", 0, 3, "better"},         {"headonly", 0, 2, "better"},
        {"soon", 0, 2, "better"},       {"busy", 0, 2, "better"},         {"middle", ERR_UPSTREAM, 1, "bet"},
        {"later", ERR_UPSTREAM, 1, ""}, {"changes", ERR_MISMATCH, 2, ""},
    };
    stage(flaky);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        atomic_store(&count, 0);
        struct probe p = {0};
        bool waited = false;
        struct timer waits; /* as long as Retry-After says, from before it was said */
        timer_init(&waits, loop, set_true, &waited);
        timer_set(&waits, 1000);
        begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, cases[i].repo);
        loop_run(loop);
        timer_fini(&waits);
        if (p.end.code != cases[i].code || strcmp(p.body, cases[i].body) != 0 ||
            atomic_load(&count) != cases[i].requests || p.heads > 1)
            fail_msg("%s: %d \"%s\" after %d: %s", cases[i].repo, p.end.code, p.body, atomic_load(&count), p.end.msg);
        bool told = strcmp(cases[i].repo, "soon") == 0 || strcmp(cases[i].repo, "busy") == 0;
        assert_true(waited || !told);
    }
}

static bool silent(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/half")) script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbet");
    if (strstr(head, "/drip")) script_say(fd, "HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\nbet");
    script_wait_closed(fd);
    return false;
}

static void upstream_never_waits_for_ever(void **state) {
    (void)state;
    limits.head_ms = 60;
    limits.stall_ms = 60;
    limits.budget_ms = 150;
    stage(silent);
    struct probe p = get(FETCH_MANIFEST), half = {0};
    assert_int_equal(p.end.code, ERR_TIMEOUT);
    upstream_free(up); /* it is down by now */
    open_up();
    begin(&half, (struct fetch_request){.kind = FETCH_BLOB}, "half");
    loop_run(loop);
    assert_int_equal(half.end.code, ERR_TIMEOUT);
    assert_string_equal(half.body, "bet");
}

/* --- limits of the registry --- */

static bool limited(struct script_server *s, int fd, const char *head) {
    (void)s;
    atomic_fetch_add(&count, 1);
    if (strstr(head, "/told"))
        say_status(fd, 429, "Retry-After: 60\r\n");
    else if (strstr(head, "/untold"))
        say_status(fd, 429, "");
    else if (strncmp(head, "HEAD", 4) == 0)
        ok(fd, "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 3;w=21600\r\n", "");
    else
        ok(fd, "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 0;w=21600\r\n", "last");
    return true;
}

static void upstream_respects_the_pull_limit(void **state) {
    (void)state;
    stage(limited);
    struct upstream_stats st;
    struct probe p = get(FETCH_MANIFEST);
    assert_string_equal(p.body, "last");
    upstream_stats(up, &st);
    assert_int_equal(st.limit, 100);
    assert_int_equal(st.remaining, 0);
    assert_int_equal(st.window_s, 21600);
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_RATE_LIMITED);
    assert_true(p.end.retry_after_s > 21500 && p.end.retry_after_s <= 21600);
    assert_int_equal(atomic_load(&count), 1); /* not sent */
    p = get(FETCH_MANIFEST_HEAD);             /* costs nothing, and shows that there is more again */
    assert_int_equal(p.end.code, 0);
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, 0);
    upstream_stats(up, &st);
    assert_int_equal(st.rate_limited, 1);
}

static void upstream_tells_when_to_come_again(void **state) {
    (void)state;
    stage(limited);
    struct probe untold = {0}, told = {0}, blob = {0};
    begin(&untold, (struct fetch_request){.kind = FETCH_MANIFEST}, "untold");
    loop_run(loop);
    assert_int_equal(untold.end.code, ERR_RATE_LIMITED);
    assert_int_equal(untold.end.retry_after_s, 0);
    begin(&told, (struct fetch_request){.kind = FETCH_MANIFEST}, "told");
    loop_run(loop);
    assert_int_equal(told.end.code, ERR_RATE_LIMITED);
    assert_int_equal(told.end.retry_after_s, 60);
    struct probe p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_RATE_LIMITED);
    assert_int_equal(atomic_load(&count), 2);
    begin(&blob, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    assert_int_equal(blob.end.code, 0); /* blobs are not counted */
}

static bool limited_for_a_second(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    if (atomic_fetch_add(&count, 1) == 0)
        say_status(fd, 429, "Retry-After: 2\r\nRateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 0;w=21600\r\n");
    else
        ok(fd, "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 5;w=21600\r\n", "again");
    return true;
}

/* One request finds out, after as long as the registry itself has said. */
static void upstream_is_asked_again_when_it_said_so(void **state) {
    (void)state;
    limits.retry_after_s = 1; /* nobody waits in here */
    stage(limited_for_a_second);
    int64_t now = clock_mono_ms(), wall = clock_wall_s();
    clock_set_fake(now, wall);
    struct probe p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_RATE_LIMITED);
    assert_int_equal(p.end.retry_after_s, 2);
    clock_set_fake(now + 900, wall);
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_RATE_LIMITED);
    assert_int_equal(atomic_load(&count), 1);
    clock_set_fake(now + 2000, wall + 2);
    p = get(FETCH_MANIFEST);
    clock_set_fake(-1, 0);
    assert_string_equal(p.body, "again");
    assert_int_equal(atomic_load(&count), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_tries_again_only_while_nothing_was_told),
        T(upstream_never_waits_for_ever),
        T(upstream_respects_the_pull_limit),
        T(upstream_tells_when_to_come_again),
        T(upstream_is_asked_again_when_it_said_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
