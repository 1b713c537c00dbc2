/* A request has one deadline for all that is done for it. */
#include "common/core/clock.h"
#include "tests/unit/common/serve/served.h"

#define HOUR_MS ((int64_t)3600 * 1000)

/* Its HEAD takes all the time there is; the GET that must follow, for the answer names no digest, gets none of its own.
 */
static void a_tag_whose_head_and_get_are_slow_is_answered_within_one_deadline(void **state) {
    (void)state;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "slow", 1000, &d);
    atomic_store(&s.head_gate, 1);
    served.answer_within_ms = HOUR_MS;
    clock_set_fake(HOUR_MS, 1000);
    served_start(0);
    struct visit v = {.tag = "v1"};
    visit_start(&v, &d, 1000, NULL);
    while (atomic_load(&s.heads) == 0)
        sched_yield();
    clock_set_fake(2 * HOUR_MS, 1000 + 3600);
    atomic_store(&s.head_gate, 2);
    visit_wait(&v);
    assert_int_equal(v.status, 504);
    assert_int_equal(atomic_load(&s.starts), 1);
    visit_clear(&v);
    clock_set_fake(-1, 0);
    served_stop();
    served.answer_within_ms = 0;
    world_clean();
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tag_whose_head_and_get_are_slow_is_answered_within_one_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
