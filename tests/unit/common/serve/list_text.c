/* The texts of lists within their budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "common/core/alloc.h"
#include "common/core/budget.h"
#include "common/serve/list_text.h"

static int64_t used(void) {
    struct budget_state s;
    budget_read(BUDGET_LISTS, &s);
    return s.used;
}

static void a_text_takes_its_length_whatever_was_taken_for_it(void **state) {
    (void)state;
    static const int64_t before[] = {0, 3, 6, 60};
    budget_limit(BUDGET_LISTS, 100);
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        assert_true(budget_take(BUDGET_LISTS, before[i]));
        struct list_text *t = list_text_new(xstrdup("sixsix"), before[i]);
        assert_non_null(t);
        assert_int_equal(used(), 6);
        list_text_free(t);
        assert_int_equal(used(), 0);
    }
}

static void a_text_that_does_not_fit_is_refused(void **state) {
    (void)state;
    budget_limit(BUDGET_LISTS, 5);
    assert_null(list_text_new(xstrdup("sixsix"), 0));
    assert_true(budget_take(BUDGET_LISTS, 4));
    assert_null(list_text_new(xstrdup("sixsix"), 4));
    assert_int_equal(used(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_takes_its_length_whatever_was_taken_for_it),
        cmocka_unit_test(a_text_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
