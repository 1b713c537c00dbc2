/* The rest of a pull limit is not used up by one caller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/upstream/pull_share.h"

static struct pull_share share;
static struct ratelimit limit;

static struct caller numbered(unsigned n) {
    struct caller c = {.kind = CALLER_CLIENT};
    c.who.bytes[15] = (unsigned char)n;
    c.who.bytes[14] = (unsigned char)(n >> 8);
    return c;
}

/* How many of `want` pulls, one after the other, this caller gets. */
static unsigned pulls(unsigned caller, unsigned want) {
    struct caller c = numbered(caller);
    unsigned got = 0;
    while (got < want && limit.remaining > 0 && pull_share_may(&share, &limit, &c)) {
        pull_share_took(&share, &limit, &c, 1000);
        limit.remaining--;
        pull_share_answered(&share);
        got++;
    }
    return got;
}

static int set_up(void **state) {
    (void)state;
    share = (struct pull_share){0};
    limit = (struct ratelimit){.known = true, .limit = 100, .remaining = 100, .window_s = 3600};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    pull_share_fini(&share);
    return 0;
}

static void one_caller_leaves_an_eighth(void **state) {
    (void)state;
    assert_int_equal(pulls(1, 200), 88);
    assert_true(pulls(2, 200) >= 5);
    assert_true(pulls(3, 200) >= 2);
    assert_true(pulls(4, 1) == 1);
}

static void while_much_is_left_nobody_is_held_back(void **state) {
    (void)state;
    assert_int_equal(pulls(1, 60), 60);
    assert_int_equal(pulls(2, 15), 15);
}

static void who_has_had_an_equal_part_waits_when_little_is_left(void **state) {
    (void)state;
    assert_int_equal(pulls(1, 70), 70);
    assert_int_equal(pulls(2, 5), 5);
    assert_int_equal(pulls(1, 10), 0);
    assert_true(pulls(2, 100) > 10);
}

static void what_is_under_way_counts(void **state) {
    (void)state;
    struct caller c = numbered(1);
    unsigned sent = 0;
    limit.remaining = 30; /* none of the answers has come */
    while (sent < 100 && pull_share_may(&share, &limit, &c)) {
        pull_share_took(&share, &limit, &c, 1000);
        sent++;
    }
    assert_in_range(sent, 10, 20);
    while (sent--)
        pull_share_answered(&share);
}

static void counts_are_forgotten_with_the_window(void **state) {
    (void)state;
    struct caller c = numbered(1);
    assert_int_equal(pulls(1, 200), 88);
    for (int64_t quarter = 1; quarter <= 8; quarter++) {
        struct caller other = numbered(2);
        pull_share_took(&share, &limit, &other, 1000 + quarter * 900 * 1000);
        pull_share_answered(&share);
    }
    assert_int_equal(pull_share_had(&share, &c), 0);
    assert_true(pull_share_may(&share, &limit, &c));
}

static void a_registry_without_a_limit_holds_nobody_back(void **state) {
    (void)state;
    limit = (struct ratelimit){0};
    struct caller c = numbered(1);
    for (int i = 0; i < 1000; i++) {
        assert_true(pull_share_may(&share, &limit, &c));
        pull_share_took(&share, &limit, &c, 1000);
        pull_share_answered(&share);
    }
    limit = (struct ratelimit){.known = true, .limit = 600, .remaining = 1}; /* nobody knows for how long */
    assert_true(pull_share_may(&share, &limit, &c));
}

static void many_callers_take_bounded_memory(void **state) {
    (void)state;
    for (unsigned i = 0; i < 60000; i++) {
        struct caller c = numbered(i);
        pull_share_took(&share, &limit, &c, 1000);
        pull_share_answered(&share);
    }
    unsigned known = 0;
    for (unsigned i = 0; i < 60000; i++) {
        struct caller c = numbered(i);
        known += pull_share_had(&share, &c) > 0;
    }
    assert_in_range(known, 1, 10000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(one_caller_leaves_an_eighth),
        T(while_much_is_left_nobody_is_held_back),
        T(who_has_had_an_equal_part_waits_when_little_is_left),
        T(what_is_under_way_counts),
        T(counts_are_forgotten_with_the_window),
        T(a_registry_without_a_limit_holds_nobody_back),
        T(many_callers_take_bounded_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
