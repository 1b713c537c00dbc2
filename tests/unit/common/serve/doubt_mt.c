/* Doubts from several loops about blobs that are right and blobs that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <semaphore.h>
#include <string.h>

#include "common/core/clock.h"
#include "common/core/error.h"
#include "common/serve/doubt.h"

#define LOOPS 3
#define EACH 50

static struct {
    struct loop *fetch, *serving[LOOPS];
    struct workpool *pool;
    struct doubts *doubts;
    sem_t may_read, answered;
    atomic_int reading, at_once, read, code;
} world;

/* Waits until it may. */
static int recheck(const struct digest *d, void *arg) {
    (void)d;
    (void)arg;
    int now = atomic_fetch_add(&world.reading, 1) + 1;
    if (now > atomic_load(&world.at_once)) atomic_store(&world.at_once, now);
    sem_wait(&world.may_read);
    atomic_fetch_sub(&world.reading, 1);
    atomic_fetch_add(&world.read, 1);
    return atomic_load(&world.code);
}

static int start(void **state) {
    (void)state;
    memset(&world, 0, sizeof(world));
    clock_set_fake(1000000, 1000);
    sem_init(&world.may_read, 0, 0);
    sem_init(&world.answered, 0, 0);
    world.fetch = loop_new("fetch");
    world.pool = workpool_new("work", 4);
    loop_start(world.fetch);
    for (int i = 0; i < LOOPS; i++) {
        world.serving[i] = loop_new("serve");
        loop_start(world.serving[i]);
    }
    struct doubts_config cfg = {.loop = world.fetch, .pool = world.pool, .recheck = recheck};
    world.doubts = doubts_new(&cfg);
    return 0;
}

static int stop(void **state) {
    (void)state;
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(world.serving[i]);
        loop_join(world.serving[i]);
    }
    loop_stop(world.fetch);
    loop_join(world.fetch);
    workpool_free(world.pool);
    loop_free(world.fetch);
    for (int i = 0; i < LOOPS; i++)
        loop_free(world.serving[i]);
    doubts_free(world.doubts);
    clock_set_fake(-1, 0);
    return 0;
}

static void on_done(void *arg) {
    assert_ptr_equal(loop_current(), arg);
    sem_post(&world.answered);
}

struct order {
    struct loop *loop;
    struct digest digest;
};

static void raise_now(void *arg) {
    struct order *o = arg;
    doubts_raise(world.doubts, &o->digest, on_done, o->loop);
    free(o);
}

static void doubt(int loop, unsigned char what) {
    struct order *o = calloc(1, sizeof(*o));
    if (!o) abort();
    o->loop = world.serving[loop];
    o->digest = (struct digest){.alg = DIGEST_SHA256, .bytes = {what}};
    loop_call(o->loop, raise_now, o);
}

static void passed(void *arg) {
    sem_post(arg);
}

/* The fetch loop has heard every doubt so far. */
static void until_heard(void) {
    sem_t here;
    sem_init(&here, 0, 0);
    for (int i = 0; i < LOOPS; i++) {
        loop_call(world.serving[i], passed, &here);
        sem_wait(&here);
    }
    loop_call(world.fetch, passed, &here);
    sem_wait(&here);
}

static void await_answers(int n) {
    for (int i = 0; i < n; i++)
        sem_wait(&world.answered);
}

static void let_read(int n) {
    for (int i = 0; i < n; i++)
        sem_post(&world.may_read);
}

static void a_blob_is_read_once_however_many_doubt_it(void **state) {
    (void)state;
    world.code = ERR_MISMATCH;
    for (int i = 0; i < LOOPS * EACH; i++)
        doubt(i % LOOPS, 1);
    until_heard();
    let_read(LOOPS * EACH);
    await_answers(LOOPS * EACH);
    assert_int_equal(world.read, 1);
}

static void different_blobs_are_read_one_after_the_other(void **state) {
    (void)state;
    world.code = ERR_MISMATCH;
    for (unsigned char i = 0; i < 10; i++)
        doubt(i % LOOPS, i);
    let_read(10);
    await_answers(10);
    assert_int_equal(world.read, 10);
    assert_int_equal(world.at_once, 1);
}

static void after_a_doubt_without_cause_further_doubts_are_ignored_for_a_while(void **state) {
    (void)state;
    let_read(1000);
    doubt(0, 1);
    await_answers(1);
    assert_int_equal(world.read, 1);
    for (unsigned char i = 0; i < 100; i++)
        doubt(i % LOOPS, i);
    await_answers(100);
    assert_int_equal(world.read, 1);
    clock_set_fake(1000000 + 60000, 1060);
    doubt(0, 2);
    await_answers(1);
    assert_int_equal(world.read, 2);
}

static void too_many_doubts_at_once_are_answered_unread(void **state) {
    (void)state;
    world.code = ERR_MISMATCH;
    for (unsigned char i = 0; i < 100; i++)
        doubt(0, i);
    /* Those beyond the bound are answered though nothing may be read yet. */
    await_answers(1);
    assert_int_equal(world.read, 0);
    let_read(100);
    await_answers(99);
    assert_true(world.read < 100);
    assert_int_equal(world.at_once, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_blob_is_read_once_however_many_doubt_it, start, stop),
        cmocka_unit_test_setup_teardown(different_blobs_are_read_one_after_the_other, start, stop),
        cmocka_unit_test_setup_teardown(after_a_doubt_without_cause_further_doubts_are_ignored_for_a_while, start,
                                        stop),
        cmocka_unit_test_setup_teardown(too_many_doubts_at_once_are_answered_unread, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
