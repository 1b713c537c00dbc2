/* Answers that are remembered make room for those that are in use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/source/remembered.h"

#define LIST_BYTES 1000

static struct remembered *kept;

static struct budget_state state_of(enum budget b) {
    struct budget_state s;
    budget_read(b, &s);
    return s;
}

static int start(void **state) {
    (void)state;
    budget_limit(BUDGET_LISTS, 3 * LIST_BYTES);
    budget_limit(BUDGET_ANSWERS, 8 * MiB);
    clock_set_fake(1000000, 1000);
    kept = remembered_new();
    return 0;
}

static int stop(void **state) {
    (void)state;
    remembered_free(kept);
    clock_set_fake(-1, 0);
    assert_int_equal(state_of(BUDGET_LISTS).used, 0);
    assert_int_equal(state_of(BUDGET_ANSWERS).used, 0);
    return 0;
}

/* NULL if the budget has no room for it. */
static struct ask_answer *list_new(void) {
    if (!budget_take(BUDGET_LISTS, LIST_BYTES)) return NULL;
    struct ask_answer *a = xcalloc(1, sizeof(*a));
    atomic_init(&a->refs, 1);
    a->budget = BUDGET_LISTS;
    a->charged = LIST_BYTES;
    a->body = xmalloc(LIST_BYTES);
    return a;
}

static bool remember_list(const char *key) {
    struct ask_answer *a = list_new();
    if (!a) return false;
    remembered_add(kept, key, a, 60000);
    ask_answer_unref(a);
    return true;
}

static void remember_failure(const char *key) {
    struct ask_answer *a = xcalloc(1, sizeof(*a));
    atomic_init(&a->refs, 1);
    a->budget = BUDGET_ANSWERS;
    remembered_add(kept, key, a, 60000);
    ask_answer_unref(a);
}

static bool is_kept(const char *key) {
    struct ask_answer *a = remembered_get(kept, key);
    ask_answer_unref(a);
    return a != NULL;
}

static void the_oldest_list_makes_room_and_the_others_stay(void **state) {
    (void)state;
    remember_failure("failure");
    assert_true(remember_list("first") && remember_list("second") && remember_list("third"));
    assert_true(budget_take(BUDGET_LISTS, LIST_BYTES));
    assert_false(is_kept("first"));
    assert_true(is_kept("second") && is_kept("third"));
    assert_true(is_kept("failure")); /* it holds nothing of that budget */
    budget_give(BUDGET_LISTS, LIST_BYTES);
}

static void a_list_that_is_being_sent_is_not_dropped_in_vain(void **state) {
    (void)state;
    assert_true(remember_list("first") && remember_list("second") && remember_list("third"));
    struct ask_answer *sent = remembered_get(kept, "first");
    assert_true(budget_take(BUDGET_LISTS, 2 * LIST_BYTES));
    assert_true(is_kept("first"));
    assert_false(budget_take(BUDGET_LISTS, LIST_BYTES)); /* what is left is in use */
    ask_answer_unref(sent);
    assert_true(budget_take(BUDGET_LISTS, LIST_BYTES));
    assert_false(is_kept("first"));
    budget_give(BUDGET_LISTS, 3 * LIST_BYTES);
}

static void beyond_a_thousand_answers_the_oldest_goes(void **state) {
    (void)state;
    char key[32];
    for (int i = 0; i < 1001; i++) {
        snprintf(key, sizeof(key), "%d", i);
        remember_failure(key);
    }
    assert_false(is_kept("0"));
    assert_true(is_kept("1") && is_kept("1000"));
}

static void full_of_failures_the_answers_keep_the_newest(void **state) {
    (void)state;
    char key[32];
    budget_limit(BUDGET_ANSWERS, 64 * KiB);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "%d", i);
        remember_failure(key);
    }
    assert_false(is_kept("0"));
    assert_true(is_kept("199"));
    assert_true(budget_take(BUDGET_ANSWERS, 64 * KiB));
    assert_false(is_kept("199"));
    budget_give(BUDGET_ANSWERS, 64 * KiB);
}

static void what_is_out_of_date_goes_by_itself(void **state) {
    (void)state;
    assert_true(remember_list("first"));
    clock_set_fake(1000000 + 60000, 1060);
    assert_false(is_kept("first"));
    assert_false(remembered_sweep(kept));
    assert_int_equal(state_of(BUDGET_LISTS).used, 0);
}

static void *take_often(void *arg) {
    bool *refused = arg;
    for (int i = 0; i < 2000; i++) {
        if (budget_take(BUDGET_LISTS, LIST_BYTES))
            budget_give(BUDGET_LISTS, LIST_BYTES);
        else
            *refused = true;
    }
    return NULL;
}

/* Two that take a third each leave one third, for a list that comes. */
static void nobody_is_refused_for_what_is_only_remembered(void **state) {
    (void)state;
    pthread_t threads[2];
    bool refused[2] = {false, false};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_often, &refused[i]), 0);
    char key[32];
    bool all = true;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "%d", i % 7);
        /* Not more than one in use at a time, but three once remembered. */
        all = remember_list(key) && all;
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_false(refused[i]);
    }
    assert_true(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_list_makes_room_and_the_others_stay, start, stop),
        cmocka_unit_test_setup_teardown(a_list_that_is_being_sent_is_not_dropped_in_vain, start, stop),
        cmocka_unit_test_setup_teardown(beyond_a_thousand_answers_the_oldest_goes, start, stop),
        cmocka_unit_test_setup_teardown(full_of_failures_the_answers_keep_the_newest, start, stop),
        cmocka_unit_test_setup_teardown(what_is_out_of_date_goes_by_itself, start, stop),
        cmocka_unit_test_setup_teardown(nobody_is_refused_for_what_is_only_remembered, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
