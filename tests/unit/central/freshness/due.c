/* Which tags are due to be checked without a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "central/freshness/due.h"

#define PERIOD 1000

static struct due_tag tag(unsigned upstream, const char *name) {
    struct due_tag t = {.upstream = upstream, .repo = {.upstream = "docker.io", .path = "library/app"}};
    snprintf(t.tag, sizeof(t.tag), "%s", name);
    return t;
}

static void ask(struct due *d, const char *name, int times, int64_t now) {
    struct due_tag t = tag(0, name);
    for (int i = 0; i < times; i++)
        due_asked(d, &t, PERIOD, 0, now);
}

static void takes(struct due *d, const char *name, int64_t now) {
    struct due_tag t;
    assert_true(due_take(d, 0, now, &t));
    assert_string_equal(t.tag, name);
}

static void takes_none(struct due *d, int64_t now) {
    struct due_tag t;
    assert_false(due_take(d, 0, now, &t));
}

static void tag_is_due_once_when_its_last_check_is_a_period_old(void **state) {
    (void)state;
    struct due *d = due_new(10);
    struct due_tag t = tag(0, "v1");
    due_asked(d, &t, PERIOD, 400, 5000);
    takes_none(d, 5599);
    takes(d, "v1", 5600);
    takes_none(d, 9000); /* it is being checked */
    due_checked(d, &t, 0, 9000);
    takes_none(d, 9999);
    takes(d, "v1", 10000);
    due_checked(d, &t, -1, 10100); /* its source could not be asked */
    takes_none(d, 11099);
    takes(d, "v1", 11100);
    due_free(d);
}

static void tag_of_another_upstream_is_not_taken(void **state) {
    (void)state;
    struct due *d = due_new(10);
    struct due_tag t = tag(1, "v1"), got;
    due_asked(d, &t, PERIOD, 0, 0);
    takes_none(d, PERIOD);
    assert_true(due_take(d, 1, PERIOD, &got));
    due_free(d);
}

static void most_asked_for_goes_first(void **state) {
    (void)state;
    struct due *d = due_new(10);
    ask(d, "seldom", 1, 0);
    ask(d, "often", 9, 0);
    ask(d, "sometimes", 4, 0);
    takes(d, "often", PERIOD);
    takes(d, "sometimes", PERIOD);
    takes(d, "seldom", PERIOD);
    due_free(d);
}

static void tag_that_nobody_asks_for_is_left_alone_after_ten_periods(void **state) {
    (void)state;
    struct due *d = due_new(10);
    struct due_tag t = tag(0, "v1");
    ask(d, "v1", 1, 0);
    for (int i = 1; i <= 10; i++) {
        takes(d, "v1", PERIOD * i);
        due_checked(d, &t, 0, PERIOD * i);
    }
    takes_none(d, PERIOD * 11);
    assert_int_equal(due_tidy(d, PERIOD * 11), 0);
    ask(d, "v1", 1, PERIOD * 20);
    takes(d, "v1", PERIOD * 21);
    due_free(d);
}

static void full_table_gives_a_place_of_a_tag_asked_for_once(void **state) {
    (void)state;
    struct due *d = due_new(3);
    ask(d, "a", 5, 0);
    ask(d, "b", 1, 0);
    ask(d, "c", 5, 0);
    ask(d, "d", 5, 0); /* in the place of b */
    ask(d, "e", 5, 0); /* none is free */
    assert_int_equal(due_tidy(d, 0), 3);
    struct due_tag t;
    for (int i = 0; i < 3; i++) {
        assert_true(due_take(d, 0, PERIOD, &t));
        assert_true(t.tag[0] != 'b' && t.tag[0] != 'e');
    }
    due_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tag_is_due_once_when_its_last_check_is_a_period_old),
        cmocka_unit_test(tag_of_another_upstream_is_not_taken),
        cmocka_unit_test(most_asked_for_goes_first),
        cmocka_unit_test(tag_that_nobody_asks_for_is_left_alone_after_ten_periods),
        cmocka_unit_test(full_table_gives_a_place_of_a_tag_asked_for_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
