/* A registry's limit on pulls, over time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "central/upstream/ratelimit.h"

static void ratelimit_headers_are_read(void **state) {
    (void)state;
    static const struct {
        const char *value;
        bool ok;
        int64_t count, window;
    } cases[] = {
        {"100;w=21600", true, 100, 21600},
        {"76", true, 76, 0},
        {" 0;w=60", true, 0, 60},
        {"5; w=10; x=y", true, 5, 10},
        {"5;x=y;w=9", true, 5, 9},
        {"1;w=99999999", true, 1, 86400},
        {"", false, 0, 0},
        {"-1;w=5", false, 0, 0},
        {"many", false, 0, 0},
        {"5;w=x", false, 0, 0},
        {"99999999999999999999", false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t count = 0, window = 0;
        bool ok = ratelimit_parse(cases[i].value, &count, &window);
        if (ok != cases[i].ok || (ok && (count != cases[i].count || window != cases[i].window)))
            fail_msg("%s: %d %lld %lld", cases[i].value, ok, (long long)count, (long long)window);
    }
}

static void ratelimit_waits_for_the_window_when_nothing_is_left(void **state) {
    (void)state;
    struct ratelimit r = {0};
    assert_int_equal(ratelimit_wait_s(&r, 0), 0);
    ratelimit_seen(&r, "100;w=3600", "1;w=3600", 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 0);
    ratelimit_seen(&r, "100;w=3600", "0;w=3600", 11000);
    assert_int_equal(ratelimit_wait_s(&r, 11000), 3590); /* since the window was first seen */
    assert_int_equal(ratelimit_wait_s(&r, 3601000), 0);
}

static void ratelimit_is_lifted_by_a_head_that_shows_more(void **state) {
    (void)state;
    struct ratelimit r = {0};
    ratelimit_seen(&r, NULL, "0;w=3600", 1000);
    ratelimit_refused(&r, 600, 1000);
    assert_true(ratelimit_wait_s(&r, 2000) > 0);
    ratelimit_seen(&r, NULL, "100;w=3600", 3000);
    assert_int_equal(ratelimit_wait_s(&r, 3000), 0);
}

static void ratelimit_obeys_retry_after(void **state) {
    (void)state;
    struct ratelimit r = {0};
    ratelimit_refused(&r, 60, 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 60);
    ratelimit_refused(&r, 10, 1000); /* never shortens */
    assert_int_equal(ratelimit_wait_s(&r, 31000), 30);
    assert_int_equal(ratelimit_wait_s(&r, 61000), 0);
}

/* A window of hours slides; what the registry says of when to come again is nearer the truth. */
static void ratelimit_asks_again_when_retry_after_is_over_whatever_the_window(void **state) {
    (void)state;
    struct ratelimit r = {0};
    ratelimit_seen(&r, "100;w=21600", "0;w=21600", 1000);
    ratelimit_refused(&r, 17, 1000);
    assert_int_equal(ratelimit_wait_s(&r, 1000), 17);
    assert_int_equal(ratelimit_wait_s(&r, 18000), 0);
    ratelimit_asks(&r, 18000);
    assert_true(ratelimit_wait_s(&r, 18000) > 0); /* the others wait for what becomes of it */
    assert_int_equal(ratelimit_wait_s(&r, 28000), 0);
    ratelimit_asks(&r, 28000);
    ratelimit_seen(&r, "100;w=21600", "0;w=21600", 28000);
    ratelimit_refused(&r, 9, 28000); /* not yet */
    assert_int_equal(ratelimit_wait_s(&r, 28000), 9);
    ratelimit_asks(&r, 37000);
    ratelimit_granted(&r);
    ratelimit_seen(&r, "100;w=21600", "3;w=21600", 37000);
    assert_int_equal(ratelimit_wait_s(&r, 37000), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratelimit_headers_are_read),
        cmocka_unit_test(ratelimit_waits_for_the_window_when_nothing_is_left),
        cmocka_unit_test(ratelimit_is_lifted_by_a_head_that_shows_more),
        cmocka_unit_test(ratelimit_obeys_retry_after),
        cmocka_unit_test(ratelimit_asks_again_when_retry_after_is_over_whatever_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
