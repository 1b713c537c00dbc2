/* Work done in a pool for a loop. */
#include "common/core/offload.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROUNDS 100

struct counting {
    struct offload offload;
    struct workpool *pool;
    struct loop *loop;
    int n; /* no lock: run and back take turns */
    bool ran_on_the_loop, came_back_elsewhere;
};

static void count(struct offload *o) {
    struct counting *c = container_of(o, struct counting, offload);
    if (loop_current()) c->ran_on_the_loop = true;
    c->n++;
}

static void counted(struct offload *o) {
    struct counting *c = container_of(o, struct counting, offload);
    if (loop_current() != c->loop) c->came_back_elsewhere = true;
    if (c->n < ROUNDS)
        offload_start(o, c->pool, c->loop);
    else
        loop_stop(c->loop);
}

static void offload_runs_in_the_pool_ends_on_the_loop_and_may_start_again(void **state) {
    (void)state;
    struct counting c = {.offload = {.run = count, .back = counted}};
    c.pool = workpool_new("work", 2);
    c.loop = loop_new("test");
    offload_start(&c.offload, c.pool, c.loop);
    loop_run(c.loop);
    workpool_free(c.pool);
    loop_free(c.loop);
    assert_int_equal(c.n, ROUNDS);
    assert_false(c.ran_on_the_loop);
    assert_false(c.came_back_elsewhere);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offload_runs_in_the_pool_ends_on_the_loop_and_may_start_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
