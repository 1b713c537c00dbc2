/* Jobs of many callers take turns in few threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/serve/turn.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OF_ONE 1 /* of one or two threads, for one caller */

struct job {
    struct turn turn;
    unsigned ran, came_back, nth;
};

static struct loop *loop;
static struct workpool *pool;
static struct turns *turns;
static atomic_uint now_in, most_in, order;
static atomic_bool gate; /* jobs wait while it is shut */
static unsigned awaited, threads;

static void run(struct turn *t) {
    struct job *j = container_of(t, struct job, turn);
    unsigned n = atomic_fetch_add(&now_in, 1) + 1, most = atomic_load(&most_in);
    while (n > most && !atomic_compare_exchange_weak(&most_in, &most, n)) {}
    while (!atomic_load(&gate)) {}
    j->ran++;
    j->nth = atomic_fetch_add(&order, 1) + 1;
    atomic_fetch_sub(&now_in, 1);
}

static void back(struct loop_task *task) {
    container_of(task, struct job, turn.back)->came_back++;
    if (--awaited == 0) loop_stop(loop);
}

static int take(struct job *j, unsigned char caller) {
    struct caller c = {.kind = CALLER_CLIENT};
    c.who.bytes[15] = caller;
    j->turn.run = run;
    j->turn.back.fn = back;
    int r = turns_take(turns, &j->turn, &c);
    if (r == 0) awaited++;
    return r;
}

static struct job greedy[100], others[3];

/* Whatever is asked first, from the loop, since jobs come back there. */
static void ask_all(void *unused) {
    (void)unused;
    unsigned refused = 0;
    for (size_t i = 0; i < ARRAY_LEN(greedy); i++)
        refused += take(&greedy[i], 1) == ERR_BUSY;
    assert_int_equal(refused, ARRAY_LEN(greedy) - 50 - OF_ONE);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(take(&others[i], (unsigned char)(2 + i)), 0);
    struct share_stats st;
    turns_stats(turns, &st);
    assert_int_equal(st.taken, threads);
    assert_int_equal(st.waiting, 50 + ARRAY_LEN(others) - (threads - OF_ONE));
    atomic_store(&gate, true);
}

static void begin(unsigned n) {
    threads = n;
    atomic_store(&gate, false);
    atomic_store(&most_in, 0);
    atomic_store(&order, 0);
    memset(greedy, 0, sizeof(greedy));
    memset(others, 0, sizeof(others));
    loop = loop_new("serve");
    pool = workpool_new("list", n);
    turns = turns_new(&(struct turns_config){.pool = pool, .threads = n, .queue_of_one = 50, .queue = 1000});
}

static void end(void) {
    workpool_free(pool);
    turns_free(turns);
    loop_free(loop);
}

static void many_callers_take_turns(unsigned n) {
    begin(n);
    loop_call(loop, ask_all, NULL);
    loop_run(loop);
    workpool_wait_idle(pool);
    assert_in_range(atomic_load(&most_in), 1, n);
    for (size_t i = 0; i < ARRAY_LEN(greedy); i++) {
        assert_int_equal(greedy[i].ran, greedy[i].turn.place.of || i < 50 + OF_ONE);
        assert_int_equal(greedy[i].came_back, greedy[i].ran);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(others[i].ran, 1);
        /* Not behind the fifty. Of two threads one can be kept from running for as long as the other needs for all. */
        if (n == 1) assert_true(others[i].nth <= 2 * ARRAY_LEN(others) + 2);
    }
    struct share_stats st;
    turns_stats(turns, &st);
    assert_int_equal(st.taken + st.waiting + st.callers, 0);
    end();
}

static void jobs_of_many_callers_take_turns(void **state) {
    (void)state;
    many_callers_take_turns(1);
    many_callers_take_turns(2);
}

static struct job left[10];

static void ask_and_leave(void *unused) {
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        assert_int_equal(take(&left[i], 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        turn_unwanted(&left[i].turn);
    atomic_store(&gate, true);
}

static void jobs_that_nobody_waits_for_are_not_run(void **state) {
    (void)state;
    begin(2);
    loop_call(loop, ask_and_leave, NULL);
    loop_run(loop);
    unsigned ran = 0;
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        assert_int_equal(left[i].came_back, 1);
        ran += left[i].ran;
    }
    assert_in_range(ran, 0, OF_ONE); /* it had begun */
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(jobs_of_many_callers_take_turns),
                                       cmocka_unit_test(jobs_that_nobody_waits_for_are_not_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
