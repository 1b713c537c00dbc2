/* Several endpoints of one upstream: which is asked, and which is left alone. */
#include "tests/unit/common/upstream/fixture.h"

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

static bool answers(void) {
    struct upstream_stats st;
    struct upstream_endpoint_state ends[UPSTREAM_ENDPOINTS_MAX];
    upstream_stats(up, &st);
    assert_true(st.reachable); /* it is not given up yet */
    assert_int_equal(upstream_endpoints(up, ends), 1);
    assert_int_equal(ends[0].answers, st.answers);
    return st.answers;
}

static void until_it_answers(void *arg) {
    if (answers())
        loop_stop(loop);
    else
        timer_set(arg, 2);
}

static void upstream_says_so_when_its_last_try_failed_and_finds_out_by_itself_when_it_is_well(void **state) {
    (void)state;
    limits.rounds = 1;
    limits.down_after_ms = 60000;
    script_start(&registry, hello, NULL);
    unsigned port = registry.port;
    script_stop(&registry);
    open_up();
    assert_true(answers()); /* nobody has tried */
    assert_int_equal(get(FETCH_BLOB).end.code, ERR_UNREACHABLE);
    assert_false(answers()); /* after one failure */
    script_start_at(&registry, port, hello, NULL);
    struct timer t;
    timer_init(&t, loop, until_it_answers, &t);
    timer_set(&t, 0);
    loop_run(loop); /* nobody asks for anything */
    timer_fini(&t);
    assert_true(answers());
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
    usleep(300000); /* far more than a busy machine takes for the other */
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

/* --- bodies that are too slow, break off, or are wrong --- */

#define LARGE (2 * MiB)
#define DRIPS 40

/* Good bodies, but those of "drip" come a byte at a time: from the first that is asked for one, or from all. A "whole"
 * one is short enough to end nevertheless. */
static _Atomic(struct script_server *) drips_here;
static atomic_bool all_drip;

static bool drips(struct script_server *s, const char *head) {
    struct script_server *nobody = NULL;
    if (!strstr(head, "/drip")) return false;
    return atomic_compare_exchange_strong(&drips_here, &nobody, s) || nobody == s || atomic_load(&all_drip);
}

static bool may_drip(struct script_server *s, int fd, const char *head) {
    static char block[LARGE];
    if (strstr(head, s == &registry ? "/only-other" : "/only-registry")) {
        say_status(fd, 404, "");
        return true;
    }
    char range[64];
    script_header(head, "Range", range, sizeof(range)); /* "bytes=5-" */
    int64_t from = range[0] ? atoll(range + 6) : 0, total = strstr(head, "/drip-whole") ? DRIPS : LARGE;
    char part[128] = "";
    if (from) {
        snprintf(part, sizeof(part), "Content-Range: bytes %lld-%lld/%lld\r\n", (long long)from, (long long)total - 1,
                 (long long)total);
    }
    /* The first byte is in the same packet. */
    script_say(fd, "HTTP/1.1 %d X\r\n%sContent-Length: %lld\r\n\r\nx", from ? 206 : 200, part,
               (long long)(total - from));
    from++;
    if (!drips(s, head)) {
        script_send(fd, block, (size_t)(total - from));
        return true;
    }
    for (int i = 1; i < DRIPS && from < total; i++, from++) {
        usleep(10000);
        script_send(fd, "x", 1);
    }
    if (from < total) script_wait_closed(fd);
    return from == total;
}

static struct probe get_of(const char *repo, int64_t offset) {
    struct probe p = {0};
    begin(&p, (struct fetch_request){.kind = FETCH_BLOB, .offset = offset}, repo);
    loop_run(loop);
    return p;
}

/* What is usual is known of every endpoint. */
static void make_known(void) {
    for (int i = 0; i < 6; i++) {
        assert_int_equal(get_of("only-registry", 0).bytes, LARGE);
        if (cfg.n_endpoints > 1) assert_int_equal(get_of("only-other", 0).bytes, LARGE);
    }
}

static void stage_drip(void) {
    atomic_store(&drips_here, NULL);
    atomic_store(&all_drip, false);
    limits.pace_ms = 40;
    script_start(&registry, may_drip, NULL);
}

static void upstream_gives_up_a_body_slower_than_a_tenth_of_the_endpoints_own(void **state) {
    (void)state;
    stage_drip();
    two_endpoints(may_drip);
    make_known();
    struct probe p = get_of("drip", 0);
    assert_int_equal(p.end.code, ERR_TIMEOUT);
    assert_non_null(strstr(p.end.msg, "slower than a tenth"));
    assert_true(p.bytes > 0 && p.bytes < LARGE);
    /* Who kept those asks for the rest: the other one gives it. */
    struct script_server *slow = atomic_load(&drips_here), *good = slow == &registry ? &other : &registry;
    int slow_asked = atomic_load(&slow->requests), good_asked = atomic_load(&good->requests);
    struct probe rest = get_of("drip", p.bytes);
    assert_int_equal(rest.end.code, 0);
    assert_int_equal(rest.bytes, LARGE - p.bytes);
    assert_int_equal(atomic_load(&slow->requests), slow_asked);
    assert_int_equal(atomic_load(&good->requests), good_asked + 1);
    assert_int_equal(get_of("app", 0).bytes, LARGE); /* and so it is for others */
    assert_int_equal(atomic_load(&slow->requests), slow_asked);
}

static void upstream_keeps_a_slow_body_when_there_is_no_better_one(void **state) {
    (void)state;
    stage_drip();
    open_up(); /* one endpoint */
    make_known();
    struct probe p = get_of("drip-whole", 0);
    assert_int_equal(p.end.code, 0);
    assert_int_equal(p.bytes, DRIPS);
}

/* The first body of a life may be the one that drips. */
static void upstream_gives_up_a_crawling_body_though_nothing_is_known_to_be_usual(void **state) {
    (void)state;
    stage_drip();
    two_endpoints(may_drip);
    struct probe p = get_of("drip", 0);
    assert_int_equal(p.end.code, ERR_TIMEOUT);
    assert_non_null(strstr(p.end.msg, "almost nothing arrives"));
    assert_true(p.bytes > 0 && p.bytes < LARGE);
    struct probe rest = get_of("drip", p.bytes);
    assert_int_equal(rest.end.code, 0);
    assert_int_equal(rest.bytes, LARGE - p.bytes);
}

static void upstream_does_not_pass_a_body_to_and_fro_between_slow_endpoints(void **state) {
    (void)state;
    stage_drip();
    two_endpoints(may_drip);
    make_known();
    atomic_store(&all_drip, true);
    struct probe p = get_of("drip", 0);
    assert_int_equal(p.end.code, ERR_TIMEOUT);
    p = get_of("drip-whole", 1); /* the other is as slow, and keeps it */
    assert_int_equal(p.end.code, 0);
    assert_int_equal(p.bytes, DRIPS - 1);
}

/* The registry sends some of it and then nothing, or breaks off; the other is good, but takes longer to answer. */
static bool breaks(struct script_server *s, int fd, const char *head) {
    if (strstr(head, "/warm")) {
        if (s == &registry) {
            say_status(fd, 404, "");
            return true;
        }
        usleep(300000); /* far more than a busy machine takes for the other */
        ok(fd, "", "warm");
        return true;
    }
    if (s == &other) {
        script_say(fd, "HTTP/1.1 206 P\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\nter");
        return true;
    }
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbet");
    if (strstr(head, "/stalls")) script_wait_closed(fd);
    return false;
}

static void upstream_goes_on_at_another_endpoint_after_a_body_broke_off(void **state) {
    (void)state;
    static const struct {
        const char *repo;
        int code;
    } cases[] = {{"stalls", ERR_TIMEOUT}, {"ends", ERR_UPSTREAM}};
    limits.stall_ms = 60;
    script_start(&registry, breaks, NULL);
    two_endpoints(breaks);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(get_of("warm", 0).body, "warm");
        struct probe p = get_of(cases[i].repo, 0);
        assert_int_equal(p.end.code, cases[i].code);
        assert_string_equal(p.body, "bet");
        int asked = atomic_load(&registry.requests);
        p = get_of(cases[i].repo, 3);
        assert_int_equal(atomic_load(&registry.requests), asked);
        assert_int_equal(p.end.code, 0);
        assert_string_equal(p.body, "ter");
        upstream_free(up); /* its marks are forgotten */
        open_up();
    }
}

static bool other_late(struct script_server *s, int fd, const char *head) {
    (void)head;
    if (s == &other) usleep(300000);
    ok(fd, "", s == &other ? "other" : "registry");
    return true;
}

static void upstream_rather_asks_another_endpoint_than_the_one_that_lied(void **state) {
    (void)state;
    script_start(&registry, other_late, NULL);
    two_endpoints(other_late);
    (void)get_of("app", 0);
    (void)get_of("app", 0);
    struct probe p = get_of("app", 0);
    assert_string_equal(p.body, "registry"); /* which is faster */
    char origin[64];
    snprintf(origin, sizeof(origin), "%s", p.head.origin);
    p = fetch_of((struct fetch_request){.kind = FETCH_BLOB, .avoid_origin = origin});
    assert_string_equal(p.body, "other");
    p = get_of("app", 0);
    assert_string_equal(p.body, "other");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_that_is_down_is_not_waited_for_and_found_again),
        T(upstream_says_so_when_its_last_try_failed_and_finds_out_by_itself_when_it_is_well),
        T(upstream_asks_the_next_endpoint),
        T(upstream_leaves_a_dead_endpoint_alone),
        T(upstream_prefers_the_faster_endpoint),
        T(upstream_gives_up_a_body_slower_than_a_tenth_of_the_endpoints_own),
        T(upstream_keeps_a_slow_body_when_there_is_no_better_one),
        T(upstream_gives_up_a_crawling_body_though_nothing_is_known_to_be_usual),
        T(upstream_goes_on_at_another_endpoint_after_a_body_broke_off),
        T(upstream_rather_asks_another_endpoint_than_the_one_that_lied),
        T(upstream_does_not_pass_a_body_to_and_fro_between_slow_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
