/* Which failure is told, and what each asks for next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/source/failure.h"

static struct fetch_end end_of(int code, int status) {
    struct fetch_end end;
    fetch_end_set(&end, code, "scripted");
    end.status = status;
    return end;
}

/* Later ones outrank those before them. */
static const int by_rank[] = {ERR_NOT_FOUND, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_UPSTREAM, ERR_DENIED, ERR_RATE_LIMITED};

static void the_most_informative_failure_is_reported_whichever_comes_first(void **state) {
    (void)state;
    static const char first, second;
    for (size_t i = 0; i < ARRAY_LEN(by_rank); i++) {
        for (size_t j = 0; j < ARRAY_LEN(by_rank); j++) {
            struct failures f = {0};
            struct fetch_end a = end_of(by_rank[i], 0), b = end_of(by_rank[j], 0);
            failure_note(&f, &first, &a);
            failure_note(&f, &second, &b);
            assert_int_equal(f.told.code, by_rank[i > j ? i : j]);
        }
    }
}

static void a_second_answer_of_one_source_replaces_its_first(void **state) {
    (void)state;
    static const char one;
    struct failures f = {0};
    struct fetch_end a = end_of(ERR_RATE_LIMITED, 429), b = end_of(ERR_NOT_FOUND, 404);
    failure_note(&f, &one, &a);
    failure_note(&f, &one, &b);
    assert_int_equal(f.told.code, ERR_NOT_FOUND);
}

static const struct {
    int code, status;
    enum failure_step next, of_source, of_source_that_began;
} cases[] = {
    {ERR_DENIED, 401, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_DENIED, 403, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_NOT_FOUND, 404, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_UPSTREAM, 416, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_RATE_LIMITED, 429, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_UPSTREAM, 501, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_TIMEOUT, 408, FAILURE_ASK_AGAIN, FAILURE_ASK_OTHER, FAILURE_ASK_AGAIN},
    {ERR_UPSTREAM, 500, FAILURE_ASK_AGAIN, FAILURE_ASK_OTHER, FAILURE_ASK_AGAIN},
    {ERR_UPSTREAM, 502, FAILURE_ASK_AGAIN, FAILURE_ASK_OTHER, FAILURE_ASK_AGAIN},
    {ERR_UPSTREAM, 503, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN},
    {ERR_TIMEOUT, 504, FAILURE_ASK_AGAIN, FAILURE_ASK_OTHER, FAILURE_ASK_AGAIN},
    {ERR_TIMEOUT, 0, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN},
    {ERR_UPSTREAM, 0, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN},
    {ERR_UPSTREAM, 206, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN}, /* a wrong length */
    {ERR_MISMATCH, 200, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN}, /* a wrong digest */
    {ERR_TOO_BIG, 200, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_BUSY, 503, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN, FAILURE_ASK_AGAIN},
    {ERR_BUSY, 0, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER, FAILURE_ASK_OTHER},
    {ERR_UNREACHABLE, 0, FAILURE_AWAIT, FAILURE_AWAIT, FAILURE_AWAIT},
};

static void every_failure_has_its_next_step(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch_end end = end_of(cases[i].code, cases[i].status);
        assert_int_equal(failure_next(&end), cases[i].next);
        assert_int_equal(failure_next_of_source(&end, false), cases[i].of_source);
        assert_int_equal(failure_next_of_source(&end, true), cases[i].of_source_that_began);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_informative_failure_is_reported_whichever_comes_first),
        cmocka_unit_test(a_second_answer_of_one_source_replaces_its_first),
        cmocka_unit_test(every_failure_has_its_next_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
