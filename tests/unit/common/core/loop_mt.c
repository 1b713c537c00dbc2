/* Loops, mailboxes and the work pool under several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "common/core/loop.h"
#include "common/core/workpool.h"

#define SENDERS 4
#define EACH 5000

struct message {
    struct loop_task task;
    int sender, number;
};

static int last_seen[SENDERS], received;
static struct loop *receiver;
static sem_t all_in;

static void on_message(struct loop_task *task) {
    struct message *m = container_of(task, struct message, task);
    if (m->number != last_seen[m->sender] + 1) abort();
    last_seen[m->sender] = m->number;
    free(m);
    if (++received == SENDERS * EACH) sem_post(&all_in);
}

static void *send_many(void *arg) {
    int sender = (int)(intptr_t)arg;
    for (int i = 1; i <= EACH; i++) {
        struct message *m = calloc(1, sizeof(*m));
        if (!m) abort();
        m->task.fn = on_message;
        m->sender = sender;
        m->number = i;
        loop_post(receiver, &m->task);
    }
    return NULL;
}

static void loop_runs_every_message_in_each_senders_order(void **state) {
    (void)state;
    receiver = loop_new("receiver");
    sem_init(&all_in, 0, 0);
    loop_start(receiver);
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, (void *)(intptr_t)i), 0);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    sem_wait(&all_in);
    loop_stop(receiver);
    loop_join(receiver);
    loop_free(receiver);
    assert_int_equal(received, SENDERS * EACH);
}

static struct loop_task once;
static long value, seen;

static void on_once(struct loop_task *task) {
    (void)task;
    seen = __atomic_load_n(&value, __ATOMIC_RELAXED);
}

static void loop_post_once_shows_changes_made_before_it(void **state) {
    (void)state;
    struct loop *l = loop_new("once");
    once.fn = on_once;
    loop_start(l);
    for (long i = 1; i <= 20000; i++) {
        __atomic_store_n(&value, i, __ATOMIC_RELAXED);
        loop_post_once(l, &once);
    }
    loop_stop(l);
    loop_join(l);
    loop_free(l);
    assert_int_equal(seen, 20000);
}

static void loop_stop_before_run_returns_at_once(void **state) {
    (void)state;
    struct loop *l = loop_new("early");
    loop_stop(l);
    loop_run(l);
    loop_free(l);
}

struct job {
    struct work work;
};
static int jobs_done;

static void run_job(struct work *w) {
    __atomic_add_fetch(&jobs_done, 1, __ATOMIC_RELAXED);
    free(container_of(w, struct job, work));
}

static void workpool_finishes_everything_submitted(void **state) {
    (void)state;
    struct workpool *p = workpool_new("pool", 3);
    for (int i = 0; i < 10000; i++) {
        struct job *j = calloc(1, sizeof(*j));
        assert_non_null(j);
        j->work.fn = run_job;
        workpool_submit(p, &j->work);
    }
    workpool_free(p);
    assert_int_equal(jobs_done, 10000);
}

static void block(void *arg) {
    sem_t *go = arg;
    sem_wait(go);
}

static struct {
    struct loop_task last;
    int before, after, again;
    atomic_bool over;
} pass;

static void at_the_end(struct loop_task *task) {
    pass.after = pass.before;
    if (++pass.again < 3)
        loop_post_last(loop_current(), task); /* its next turn is in another pass, which comes at once */
    else
        atomic_store(&pass.over, true);
}

static void in_the_pass(void *arg) {
    loop_post_last(loop_current(), &pass.last);
    loop_post_last(loop_current(), &pass.last);
    pass.before++;
    (void)arg;
}

static void a_task_for_the_end_of_a_pass_runs_once_after_its_callbacks(void **state) {
    (void)state;
    struct loop *l = loop_new("passes");
    pass.last.fn = at_the_end;
    loop_call(l, in_the_pass, NULL);
    loop_call(l, in_the_pass, NULL);
    loop_start(l);
    while (!atomic_load(&pass.over))
        sched_yield();
    loop_stop(l);
    loop_join(l);
    assert_int_equal(pass.after, 2);
    assert_int_equal(pass.again, 3);
    loop_free(l);
}

static void loop_reports_its_longest_pass(void **state) {
    (void)state;
    struct loop *l = loop_new("stalled");
    sem_t go;
    sem_init(&go, 0, 0);
    loop_start(l);
    loop_call(l, block, &go);
    while (loop_longest_stall_us(l, false) < 2000)
        sched_yield();
    sem_post(&go);
    loop_stop(l);
    loop_join(l);
    assert_true(loop_longest_stall_us(l, true) >= 2000);
    assert_int_equal(loop_longest_stall_us(l, false), 0);
    loop_free(l);
    sem_destroy(&go);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop_runs_every_message_in_each_senders_order),
        cmocka_unit_test(loop_post_once_shows_changes_made_before_it),
        cmocka_unit_test(loop_stop_before_run_returns_at_once),
        cmocka_unit_test(workpool_finishes_everything_submitted),
        cmocka_unit_test(a_task_for_the_end_of_a_pass_runs_once_after_its_callbacks),
        cmocka_unit_test(loop_reports_its_longest_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
