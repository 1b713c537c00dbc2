/* A registry's limit on pulls, over time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "common/upstream/ratelimit.h"

#define DATE 1700000000LL

static void ratelimit_headers_are_read(void **state) {
    (void)state;
    static const struct {
        struct ratelimit_headers h;
        struct ratelimit_told told; /* limit, remaining, window, reset */
    } cases[] = {
        /* Docker Hub */
        {{.limit = "100;w=21600", .remaining = "76;w=21600"}, {100, 76, 21600, -1}},
        {{.remaining = " 0;w=60"}, {-1, 0, 60, -1}},
        {{.remaining = "5; w=10; x=y"}, {-1, 5, 10, -1}},
        {{.remaining = "5;x=y;W=9"}, {-1, 5, 9, -1}},
        {{.remaining = "1;w=99999999"}, {-1, 1, 86400, -1}},
        /* GitLab, IETF drafts to 06: no window; Reset in seconds or as a Unix time */
        {{.limit = "600", .remaining = "0", .reset = "17"}, {600, 0, -1, 17}},
        {{.limit = "600", .remaining = "0", .reset = "1700000030"}, {600, 0, -1, 30}},
        {{.limit = "600", .remaining = "0", .reset = "1699999999"}, {600, 0, -1, 0}},
        {{.limit = "100, 100;w=10, 1000;w=3600", .remaining = "9", .reset = "5"}, {100, 9, -1, 5}},
        /* draft 07 */
        {{.together = "limit=100, remaining=50, reset=30"}, {100, 50, -1, 30}},
        {{.together = "reset=30,remaining=0,limit=100", .policy = "100;w=60"}, {100, 0, 60, 30}},
        /* later drafts */
        {{.together = "\"default\";r=0;t=30"}, {-1, 0, -1, 30}},
        {{.together = "\"default\";r=50;t=30", .policy = "\"default\";q=100;w=60"}, {100, 50, 60, 30}},
        {{.together = "\"a;r=0\";r=7;t=3, \"b\"; r=2 ;t=40;pk=:x=:, c;r=9"}, {-1, 2, -1, 40}},
        {{.together = "\"a\";r=0;t=3, \"b\";r=0;t=40"}, {-1, 0, -1, 40}}, /* both must have passed */
        /* what says nothing */
        {{.remaining = ""}, {-1, -1, -1, -1}},
        {{.remaining = "-1;w=5", .reset = "-7"}, {-1, -1, -1, -1}},
        {{.remaining = "many", .limit = "1e3"}, {-1, -1, -1, -1}},
        {{.remaining = "5;w=x"}, {-1, 5, -1, -1}},
        {{.remaining = "99999999999999999999"}, {-1, -1, -1, -1}},
        {{.remaining = "0", .reset = "100000"}, {-1, 0, -1, -1}},
        {{.remaining = "0", .reset = "1700100000"}, {-1, 0, -1, -1}},
        {{.remaining = "0", .reset = "1700000000000"}, {-1, 0, -1, -1}},
        {{.remaining = "0", .reset = "Tue, 14 Nov 2023 22:13:20 GMT"}, {-1, 0, -1, -1}},
        {{.together = "\"default"}, {-1, -1, -1, -1}},
        {{.together = "=,;=;,,"}, {-1, -1, -1, -1}},
        {{.together = "r=-1"}, {-1, -1, -1, -1}},
        {{0}, {-1, -1, -1, -1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ratelimit_headers h = cases[i].h;
        struct ratelimit_told told;
        h.date_s = DATE;
        ratelimit_read(&h, &told);
        if (memcmp(&told, &cases[i].told, sizeof(told)) != 0)
            fail_msg("%zu: limit %lld, remaining %lld, window %lld, reset %lld", i, (long long)told.limit,
                     (long long)told.remaining, (long long)told.window_s, (long long)told.reset_s);
    }
}

static void see(struct ratelimit *r, const char *limit, const char *remaining, const char *reset, int64_t now_ms) {
    struct ratelimit_told told;
    ratelimit_read(&(struct ratelimit_headers){.limit = limit, .remaining = remaining, .reset = reset, .date_s = DATE},
                   &told);
    ratelimit_seen(r, &told, now_ms);
}

static void ratelimit_waits_for_the_window_when_nothing_is_left(void **state) {
    (void)state;
    struct ratelimit r = {0};
    assert_int_equal(ratelimit_wait_s(&r, 0), 0);
    see(&r, "100;w=3600", "1;w=3600", NULL, 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 0);
    see(&r, "100;w=3600", "0;w=3600", NULL, 11000);
    assert_int_equal(ratelimit_wait_s(&r, 11000), 3590); /* since the window was first seen */
    assert_int_equal(ratelimit_wait_s(&r, 3601000), 0);
}

static void ratelimit_is_lifted_by_a_head_that_shows_more(void **state) {
    (void)state;
    struct ratelimit r = {0};
    see(&r, NULL, "0;w=3600", NULL, 1000);
    ratelimit_refused(&r, 600, true, 1000);
    assert_true(ratelimit_wait_s(&r, 2000) > 0);
    see(&r, NULL, "100;w=3600", NULL, 3000);
    assert_int_equal(ratelimit_wait_s(&r, 3000), 0);
}

static void ratelimit_obeys_retry_after(void **state) {
    (void)state;
    struct ratelimit r = {0};
    ratelimit_refused(&r, 60, true, 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 60);
    ratelimit_refused(&r, 10, true, 1000); /* never shortens */
    assert_int_equal(ratelimit_wait_s(&r, 31000), 30);
    assert_int_equal(ratelimit_wait_s(&r, 61000), 0);
}

/* A window of hours slides; what the registry says of when to come again is nearer the truth. */
static void ratelimit_asks_again_when_retry_after_is_over_whatever_the_window(void **state) {
    (void)state;
    struct ratelimit r = {0};
    see(&r, "100;w=21600", "0;w=21600", NULL, 1000);
    ratelimit_refused(&r, 17, true, 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 17);
    assert_int_equal(ratelimit_wait_s(&r, 18000), 0);
    ratelimit_asks(&r, 18000);
    assert_true(ratelimit_wait_s(&r, 18000) > 0); /* the others wait for what becomes of it */
    assert_int_equal(ratelimit_wait_s(&r, 28000), 0);
    ratelimit_asks(&r, 28000);
    see(&r, "100;w=21600", "0;w=21600", NULL, 28000);
    ratelimit_refused(&r, 9, true, 28000); /* not yet */
    assert_int_equal(ratelimit_wait_s(&r, 28000), 9);
    ratelimit_asks(&r, 37000);
    ratelimit_granted(&r, true);
    see(&r, "100;w=21600", "3;w=21600", NULL, 37000);
    assert_int_equal(ratelimit_wait_s(&r, 37000), 0);
}

static void ratelimit_follows_a_reset_and_asks_where_it_is_not_known_when(void **state) {
    (void)state;
    struct ratelimit r = {0};
    see(&r, "600", "0", NULL, 1000); /* no window, no reset: nobody knows */
    assert_int_equal(ratelimit_wait_s(&r, 1000), 0);
    see(&r, "600", "0", "20", 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 20);
    assert_int_equal(ratelimit_wait_s(&r, 21000), 0);
    see(&r, "600", "0", "1700000005", 30000);
    assert_int_equal(ratelimit_wait_s(&r, 30000), 5);
    see(&r, "600", "0", "1600000000", 31000); /* past: there are more by now */
    assert_int_equal(ratelimit_wait_s(&r, 31000), 0);
    see(&r, "100;w=60", "0;w=60", "7", 40000); /* its own word is better than the window */
    assert_int_equal(ratelimit_wait_s(&r, 40000), 7);
}

static void ratelimit_of_a_request_that_is_no_pull_ends_with_any_answer(void **state) {
    (void)state;
    struct ratelimit r = {0};
    ratelimit_refused(&r, 60, false, 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 60);
    ratelimit_granted(&r, false);
    assert_int_equal(ratelimit_wait_s(&r, 2000), 0);
    ratelimit_refused(&r, 60, true, 3000);
    ratelimit_granted(&r, false); /* a HEAD is answered whatever is left of pulls */
    assert_int_equal(ratelimit_wait_s(&r, 3000), 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratelimit_headers_are_read),
        cmocka_unit_test(ratelimit_waits_for_the_window_when_nothing_is_left),
        cmocka_unit_test(ratelimit_is_lifted_by_a_head_that_shows_more),
        cmocka_unit_test(ratelimit_obeys_retry_after),
        cmocka_unit_test(ratelimit_follows_a_reset_and_asks_where_it_is_not_known_when),
        cmocka_unit_test(ratelimit_of_a_request_that_is_no_pull_ends_with_any_answer),
        cmocka_unit_test(ratelimit_asks_again_when_retry_after_is_over_whatever_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
