/* Budgets, and documents of strangers within theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <malloc.h>
#include <string.h>

#include "common/core/budget.h"
#include "common/core/buf.h"
#include "common/core/json.h"

static struct budget_state state_of(enum budget b) {
    struct budget_state s;
    budget_read(b, &s);
    return s;
}

static void budget_gives_no_more_than_its_limit(void **state) {
    (void)state;
    budget_limit(BUDGET_LISTS, 100);
    assert_true(budget_take(BUDGET_LISTS, 60));
    assert_false(budget_take(BUDGET_LISTS, 41));
    assert_false(budget_try(BUDGET_LISTS, INT64_MAX));
    assert_true(budget_take(BUDGET_LISTS, 40));
    budget_force(BUDGET_LISTS, 5);
    assert_false(budget_try(BUDGET_LISTS, 1));
    struct budget_state s = state_of(BUDGET_LISTS);
    assert_string_equal(s.name, "lists");
    assert_int_equal(s.used, 105);
    assert_int_equal(s.peak, 105);
    assert_int_equal(s.refused, 1); /* who tries again counts itself */
    budget_give(BUDGET_LISTS, 105);
    assert_true(budget_take(BUDGET_LISTS, 100));
    budget_give(BUDGET_LISTS, 100);
    assert_int_equal(state_of(BUDGET_LISTS).used, 0);
}

/* Drops 30 bytes at a time of the many it can spare. */
static bool drop_thirty(enum budget b, void *arg) {
    int *left = arg;
    if (*left == 0) return false;
    --*left;
    budget_give(b, 30);
    return true;
}

static void what_can_be_spared_goes_before_anything_is_refused(void **state) {
    (void)state;
    int left = 3;
    budget_limit(BUDGET_LISTS, 100);
    int64_t refused = state_of(BUDGET_LISTS).refused;
    assert_true(budget_take(BUDGET_LISTS, 90));
    budget_set_drop(BUDGET_LISTS, drop_thirty, &left);
    assert_false(budget_try(BUDGET_LISTS, 11));
    assert_false(budget_take(BUDGET_LISTS, 101)); /* would never fit */
    assert_int_equal(left, 3);
    assert_true(budget_take(BUDGET_LISTS, 50));
    assert_int_equal(left, 1);
    assert_false(budget_take(BUDGET_LISTS, 60));
    assert_int_equal(left, 0);
    assert_int_equal(state_of(BUDGET_LISTS).used, 50);
    assert_int_equal(state_of(BUDGET_LISTS).refused, refused + 2);
    budget_set_drop(BUDGET_LISTS, NULL, NULL);
    budget_give(BUDGET_LISTS, 50);
}

static char *repeated(const char *first, const char *part, size_t n, const char *last, size_t *len) {
    struct buf b;
    buf_init(&b, 0);
    int r = buf_add_str(&b, first);
    for (size_t i = 0; i < n && r == 0; i++)
        r = buf_add_str(&b, part);
    if (r == 0) r = buf_add_str(&b, last);
    assert_int_equal(r, 0);
    return buf_steal(&b, len);
}

/* What is taken from the budget is no less than what the tree takes, whatever it is made of. */
static void json_costs_at_least_what_its_tree_takes(void **state) {
    (void)state;
    static const char *const parts[] = {
        "{},",
        "[],",
        "1,",
        "1.5,",
        "\"a\",",
        "true,",
        "{\"a\":{}},",
        "[[]],",
        "{\"a\":\"b\"},",
        "{\"a\":[1]},",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",",
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t len;
        char *text = repeated("[", parts[i], 20000, "0]", &len);
        size_t before = mallinfo2().uordblks;
        json_t *doc = json_loadb(text, len, 0, NULL);
        assert_non_null(doc);
        size_t took = mallinfo2().uordblks - before;
        if ((int64_t)took > json_cost(text, len))
            fail_msg("%s takes %zu bytes, %lld are taken for it", parts[i], took, (long long)json_cost(text, len));
        json_decref(doc);
        free(text);
    }
}

static void json_refuses_expensive_documents_before_it_parses_them(void **state) {
    (void)state;
    size_t len;
    char *bomb = repeated("{\"tags\":[", "{},", 2790000, "{}]}", &len);
    struct json_doc d, other;
    int64_t peak = state_of(BUDGET_JSON).peak;
    assert_int_equal(json_open(&d, bomb, len, 0), ERR_TOO_BIG);
    assert_int_equal(state_of(BUDGET_JSON).peak, peak);
    json_close(&d);
    free(bomb);
    char *text = repeated("[", "{},", 10000, "{}]", &len);
    budget_limit(BUDGET_JSON, json_cost(text, len) * 3 / 2);
    assert_int_equal(json_open(&d, text, len, 0), 0);
    assert_int_equal(json_open(&other, text, len, 0), ERR_BUSY);
    json_close(&d);
    assert_int_equal(json_open(&other, text, len, 0), 0);
    json_close(&other);
    assert_int_equal(json_open(&d, text, len - 1, 0), ERR_INVALID);
    assert_int_equal(state_of(BUDGET_JSON).used, 0);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget_gives_no_more_than_its_limit),
        cmocka_unit_test(what_can_be_spared_goes_before_anything_is_refused),
        cmocka_unit_test(json_costs_at_least_what_its_tree_takes),
        cmocka_unit_test(json_refuses_expensive_documents_before_it_parses_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
