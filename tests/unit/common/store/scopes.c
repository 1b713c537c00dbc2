/* Names and numbers of scopes: how many, which are dropped, and that a number is never another's in one life. */
#include "common/store/scopes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t make(struct scopes *s, const char *name) {
    bool is_new;
    return scopes_make(s, name, &is_new);
}

/* With these in use. */
static size_t sweep(struct scopes *s, uint32_t a, uint32_t b) {
    struct scopes_used *used = calloc(1, sizeof(*used));
    uint32_t *gone;
    assert_non_null(used);
    if (a) scopes_use(used, a);
    if (b) scopes_use(used, b);
    size_t n = scopes_sweep(s, used, &gone);
    free(gone);
    free(used);
    return n;
}

static void asking_makes_no_scope(void **state) {
    (void)state;
    struct scopes *s = scopes_new(0);
    assert_int_equal(scopes_find(s, "a"), 0);
    assert_int_equal(scopes_find(s, "a"), 0);
    uint32_t a = make(s, "a");
    assert_int_not_equal(a, 0);
    assert_int_equal(scopes_find(s, "a"), a);
    assert_int_equal(make(s, "a"), a);
    scopes_free(s);
}

static void a_full_set_makes_no_more_and_keeps_what_it_has(void **state) {
    (void)state;
    struct scopes *s = scopes_new(3);
    uint32_t a = make(s, "a");
    assert_false(scopes_crowded(s));
    make(s, "b");
    make(s, "c");
    assert_true(scopes_crowded(s));
    assert_int_equal(make(s, "d"), 0);
    assert_int_equal(scopes_find(s, "d"), 0);
    assert_int_equal(make(s, "a"), a);
    scopes_free(s);
}

static void scope_numbers_end_at_their_limit(void **state) {
    (void)state;
    struct scopes *s = scopes_new(0);
    for (uint32_t id = 1; id < SCOPE_NUMBER_MAX; id++)
        scopes_reserve(s, id);
    assert_int_equal(make(s, "a"), SCOPE_NUMBER_MAX);
    assert_int_equal(make(s, "b"), 0);
    assert_false(scopes_put(s, SCOPE_NUMBER_MAX, "c"));
    assert_false(scopes_put(s, SCOPE_NUMBER_MAX + 1, "c"));
    assert_false(scopes_put(s, 0, "c"));
    scopes_free(s);
}

static void an_unused_scope_loses_its_name_at_the_second_sweep_and_its_number_is_not_reused(void **state) {
    (void)state;
    struct scopes *s = scopes_new(2);
    uint32_t a = make(s, "a"), b = make(s, "b");
    uint64_t epoch = scopes_epoch(s);
    assert_int_equal(sweep(s, a, 0), 0); /* b's content may be on its way */
    assert_true(scopes_epoch(s) == epoch);
    assert_int_equal(sweep(s, a, 0), 1);
    assert_false(scopes_epoch(s) == epoch);
    assert_int_equal(scopes_find(s, "b"), 0);
    assert_int_equal(scopes_find(s, "a"), a);
    uint32_t c = make(s, "c");
    assert_true(c != 0 && c != a && c != b);
    assert_int_equal(make(s, "b"), 0);
    scopes_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asking_makes_no_scope),
        cmocka_unit_test(a_full_set_makes_no_more_and_keeps_what_it_has),
        cmocka_unit_test(scope_numbers_end_at_their_limit),
        cmocka_unit_test(an_unused_scope_loses_its_name_at_the_second_sweep_and_its_number_is_not_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
