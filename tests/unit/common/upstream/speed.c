/* What is usual for an endpoint, and how a body does beside others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/upstream/speed.h"

static void the_usual_speed_is_the_median_of_enough_samples(void **state) {
    (void)state;
    struct speed s = {0};
    for (unsigned i = 0; i < SPEED_KNOWN; i++) {
        assert_int_equal(speed_usual(&s), 0);
        speed_add(&s, i == 1 ? 1000000 : 100 + (int64_t)i);
    }
    assert_int_equal(speed_usual(&s), 103); /* one odd one changes nothing */
    for (unsigned i = 0; i < SPEED_KNOWN - 1; i++)
        speed_add(&s, 1);
    assert_true(speed_usual(&s) >= 100);
    for (unsigned i = 0; i < SPEED_SAMPLES / 2; i++)
        speed_add(&s, 1);
    assert_int_equal(speed_usual(&s), 1); /* what goes on for long becomes usual */
}

static void speed_is_what_a_body_would_get_alone(void **state) {
    (void)state;
    struct speed s = {0};
    struct speed_sample t;
    speed_bodies(&s, 1, 1000000);
    speed_sample_begin(&t, &s, false, 1000000);
    assert_int_equal(speed_sample_rate(&t, &s, 1000000), 0);
    t.bytes = 500;
    assert_int_equal(speed_sample_rate(&t, &s, 1500000), 1000);
    /* Nine others come for the second half: ten shared it there, one had the first. */
    speed_bodies(&s, 9, 1500000);
    t.bytes = 550;
    assert_int_equal(speed_sample_rate(&t, &s, 2000000), 550 * 11 / 2);
    speed_bodies(&s, -9, 2000000);
    speed_sample_begin(&t, &s, false, 2000000);
    t.bytes = 1000;
    assert_int_equal(speed_sample_rate(&t, &s, 3000000), 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_speed_is_the_median_of_enough_samples),
        cmocka_unit_test(speed_is_what_a_body_would_get_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
