/* A work pool's threads go round those that have jobs for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/core/workpool.h"

#include <pthread.h>
#include <stdatomic.h>

/* Jobs that wait until they are let go. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned running, order;
static bool open;

struct job {
    struct work work;
    unsigned nth; /* it was the nth to end; 0: it has not */
};

static void hold(struct work *w) {
    pthread_mutex_lock(&lock);
    running++;
    pthread_cond_broadcast(&changed);
    while (!open)
        pthread_cond_wait(&changed, &lock);
    running--;
    container_of(w, struct job, work)->nth = ++order;
    pthread_mutex_unlock(&lock);
}

static void note(struct work *w) {
    pthread_mutex_lock(&lock);
    container_of(w, struct job, work)->nth = ++order;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_until_running(unsigned n) {
    pthread_mutex_lock(&lock);
    while (running < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void wait_until_over(const struct job *j) {
    pthread_mutex_lock(&lock);
    while (j->nth == 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void let_go(void) {
    pthread_mutex_lock(&lock);
    open = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int begin(void **state) {
    (void)state;
    running = order = 0;
    open = false;
    return 0;
}

static void one_caller_leaves_a_thread_for_the_next(void **state) {
    (void)state;
    struct workpool *p = workpool_new("test", 4);
    static struct job greedy[1000], other, own;
    for (size_t i = 0; i < 1000; i++) {
        greedy[i] = (struct job){.work = {.fn = hold, .whose = 7}};
        workpool_submit(p, &greedy[i].work);
    }
    wait_until_running(3);
    other = (struct job){.work = {.fn = note, .whose = 8}};
    own = (struct job){.work = {.fn = note}};
    workpool_submit(p, &other.work);
    wait_until_over(&other); /* while all of the other's are held */
    workpool_submit(p, &own.work);
    wait_until_over(&own);
    assert_int_equal(greedy[3].nth, 0);
    let_go();
    workpool_wait_idle(p);
    for (size_t i = 0; i < 1000; i++)
        assert_true(greedy[i].nth > 0);
    workpool_free(p);
}

static void callers_take_turns_and_each_one_s_jobs_are_in_order(void **state) {
    (void)state;
    struct workpool *p = workpool_new("test", 1);
    struct job first = {.work = {.fn = hold, .whose = 1}}, a[3], b[3];
    workpool_submit(p, &first.work);
    wait_until_running(1);
    for (size_t i = 0; i < 3; i++) {
        a[i] = (struct job){.work = {.fn = note, .whose = 2}};
        workpool_submit(p, &a[i].work);
    }
    for (size_t i = 0; i < 3; i++) {
        b[i] = (struct job){.work = {.fn = note, .whose = 3}};
        workpool_submit(p, &b[i].work);
    }
    let_go();
    workpool_wait_idle(p);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(a[i].nth, 2 + 2 * i);
        assert_int_equal(b[i].nth, 3 + 2 * i);
    }
    workpool_free(p);
}

static void what_was_submitted_is_done_before_the_end(void **state) {
    (void)state;
    struct workpool *p = workpool_new("test", 3);
    static struct job jobs[600];
    for (size_t i = 0; i < 600; i++) {
        jobs[i] = (struct job){.work = {.fn = note, .whose = i % 5}};
        workpool_submit(p, &jobs[i].work);
    }
    workpool_free(p);
    for (size_t i = 0; i < 600; i++)
        assert_true(jobs[i].nth > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_caller_leaves_a_thread_for_the_next, begin),
        cmocka_unit_test_setup(callers_take_turns_and_each_one_s_jobs_are_in_order, begin),
        cmocka_unit_test_setup(what_was_submitted_is_done_before_the_end, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
