/* How threads are scheduled, as the kernel says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/core/thread.h"

static int policy(void) {
    return sched_getscheduler(0);
}

static bool policy_set(int to, int priority) {
    const struct sched_param p = {.sched_priority = priority};
    return sched_setscheduler(0, to, &p) == 0;
}

/* What an urgent thread gets here: a container may take the right to more from root, too. */
static int urgent_policy(void) {
    bool may = policy_set(SCHED_RR, 1);
    assert_true(policy_set(SCHED_OTHER, 0));
    return may ? SCHED_RR : SCHED_OTHER;
}

static void an_urgent_thread_comes_before_ordinary_ones_until_it_is_no_longer_urgent(void **state) {
    (void)state;
    int urgent = urgent_policy();
    for (int i = 0; i < 2; i++) {
        thread_set_urgent(true);
        assert_int_equal(policy(), urgent);
        thread_set_urgent(true);
        assert_int_equal(policy(), urgent);
        thread_set_urgent(false);
        assert_int_equal(policy(), SCHED_OTHER);
    }
}

static void what_somebody_else_has_chosen_stays(void **state) {
    (void)state;
    assert_true(policy_set(SCHED_BATCH, 0));
    thread_set_urgent(true);
    assert_int_equal(policy(), SCHED_BATCH);
    thread_set_urgent(false);
    thread_request_short_slices();
    assert_int_equal(policy(), SCHED_BATCH);
    assert_true(policy_set(SCHED_OTHER, 0));
}

/* In a process of its own, which loses its rights. */
static int ordinary_user(void) {
    const struct rlimit none = {0};
    if (setrlimit(RLIMIT_RTPRIO, &none) < 0 || setresuid(65534, 65534, 65534) < 0) return 1;
    thread_set_urgent(true);
    thread_set_urgent(false);
    thread_set_urgent(true);
    return policy() == SCHED_OTHER ? 0 : 2;
}

static void without_the_right_to_it_it_stays_an_ordinary_thread(void **state) {
    (void)state;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(ordinary_user());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_urgent_thread_comes_before_ordinary_ones_until_it_is_no_longer_urgent),
        cmocka_unit_test(what_somebody_else_has_chosen_stays),
        cmocka_unit_test(without_the_right_to_it_it_stays_an_ordinary_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
