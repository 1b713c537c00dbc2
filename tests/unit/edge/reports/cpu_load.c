/* What an edge says of its load. */
#include "edge/reports/cpu_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND 1000000LL

static void load_is_the_share_of_all_processors_and_follows_in_some_seconds(void **state) {
    (void)state;
    struct load_meter m = {0};
    assert_int_equal(load_measure(&m, 5 * SECOND, 100 * SECOND, 2), 0); /* what was before is not known */
    assert_int_equal(load_measure(&m, 5 * SECOND, 101 * SECOND, 2), 0);
    int64_t cpu = 5 * SECOND;
    unsigned last = 0;
    for (int64_t s = 102; s < 130; s++) { /* one of two processors */
        cpu += SECOND;
        unsigned now = load_measure(&m, cpu, s * SECOND, 2);
        assert_true(now >= last && now <= 50);
        last = now;
    }
    assert_in_range(last, 49, 50);
    assert_in_range(load_measure(&m, cpu, 132 * SECOND, 2), 15, 22); /* a third of it after three seconds at rest */
}

static void load_is_never_more_than_all(void **state) {
    (void)state;
    struct load_meter m = {0};
    load_measure(&m, 0, SECOND, 1);
    assert_int_equal(load_measure(&m, 1000 * SECOND, 2 * SECOND, 1), 100);
    assert_int_equal(load_measure(&m, 1000 * SECOND, 2 * SECOND, 1), 100); /* no time has passed */
}

static void this_process_has_taken_time(void **state) {
    (void)state;
    assert_true(load_cpu_us() >= 0);
    assert_true(load_cpus() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_is_the_share_of_all_processors_and_follows_in_some_seconds),
        cmocka_unit_test(load_is_never_more_than_all),
        cmocka_unit_test(this_process_has_taken_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
