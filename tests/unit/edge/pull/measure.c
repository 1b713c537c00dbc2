/* What doctor makes of packets that arrive or vanish by their size. */
#include "edge/pull/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* tries: '+' has passed, '-' has not, by falling size. */
static bool decides(const char *tries, size_t *at) {
    bool passed[32];
    size_t n = strlen(tries);
    for (size_t i = 0; i < n; i++)
        passed[i] = tries[i] == '+';
    return road_size_decides(passed, n, at);
}

static void size_decides_where_all_smaller_ones_pass_and_no_larger_one(void **state) {
    (void)state;
    size_t at;
    assert_true(decides("---++++", &at));
    assert_int_equal(at, 3);
    assert_true(decides("-++", &at));
    assert_int_equal(at, 1);
    assert_true(decides("--+", &at));
    assert_int_equal(at, 2);
}

static void size_does_not_decide_where_all_or_none_or_some_of_any_size_pass(void **state) {
    (void)state;
    static const char *const tries[] = {"+++", "---", "-+-+", "+--", "-++-", "+", "-"};
    size_t at;
    for (size_t i = 0; i < ARRAY_LEN(tries); i++)
        assert_false(decides(tries[i], &at));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_decides_where_all_smaller_ones_pass_and_no_larger_one),
        cmocka_unit_test(size_does_not_decide_where_all_or_none_or_some_of_any_size_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
