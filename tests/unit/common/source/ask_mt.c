/* What small questions cost their source. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "common/core/clock.h"
#include "common/core/workpool.h"
#include "common/source/ask.h"

#define NEGATIVE_MS 2000

/* A source that ends every question with `code`. */
struct refuser {
    struct source source; /* first */
    int code;
    atomic_int asked;
};

struct refusal {
    struct fetch fetch; /* first */
    struct timer timer;
    const struct fetch_events *ev;
    void *arg;
    bool wants_manifest;
};

static struct {
    struct loop *loop;
    struct asker *asker;
    struct refuser refuser;
    struct fetch_request rq;
    struct deadline deadline;
    bool not_sent;      /* so it refuses */
    atomic_int breaks;  /* so often it agrees, and then breaks off */
    atomic_bool silent; /* it does not answer */
    int code;
    sem_t answered;
    struct workpool *pool;
    char *manifest; /* what it sends for a tag, if not NULL */
} world;

static void refuse(void *arg) {
    struct refusal *f = arg;
    struct fetch_end e = {0};
    if (f->wants_manifest && world.manifest) {
        f->ev->head(&f->fetch, &(struct fetch_head){.total = -1}, f->arg);
        f->ev->data(&f->fetch, world.manifest, strlen(world.manifest), f->arg);
        f->ev->done(&f->fetch, &e, f->arg);
        timer_fini(&f->timer);
        free(f);
        return;
    }
    if (atomic_load(&world.silent)) {
        timer_set(&f->timer, 1);
        return;
    }
    if (atomic_fetch_sub(&world.breaks, 1) > 0) {
        f->ev->head(&f->fetch, &(struct fetch_head){.total = 100}, f->arg);
        f->ev->data(&f->fetch, "half of it", 10, f->arg);
        fetch_end_set(&e, ERR_UPSTREAM, "broke off");
    } else {
        fetch_end_set(&e, world.refuser.code, "scripted");
    }
    e.not_sent = world.not_sent;
    f->ev->done(&f->fetch, &e, f->arg);
    timer_fini(&f->timer);
    free(f);
}

static struct fetch *refuser_start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev,
                                   void *arg) {
    struct refusal *f = calloc(1, sizeof(*f));
    if (!f) abort();
    *f = (struct refusal){.fetch = {.source = s}, .ev = ev, .arg = arg, .wants_manifest = rq->kind == FETCH_MANIFEST};
    atomic_fetch_add(&world.refuser.asked, 1);
    timer_init(&f->timer, world.loop, refuse, f);
    timer_set(&f->timer, 0);
    return &f->fetch;
}

static const struct source_ops ops = {.start = refuser_start};

static unsigned sources(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg) {
    (void)repo;
    (void)arg;
    out[0] = &world.refuser.source;
    return 1;
}

static int start(void **state) {
    (void)state;
    memset(&world, 0, sizeof(world));
    clock_set_fake(1000000, 1000);
    world.refuser = (struct refuser){.source = {.ops = &ops, .name = "source"}, .code = ERR_NOT_FOUND};
    sem_init(&world.answered, 0, 0);
    world.loop = loop_new("fetch");
    world.pool = workpool_new("read", 1);
    world.asker = asker_new(
        &(struct asker_config){.loop = world.loop, .pool = world.pool, .negative_ms = NEGATIVE_MS, .sources = sources});
    loop_start(world.loop);
    return 0;
}

static int stop(void **state) {
    (void)state;
    loop_stop(world.loop);
    loop_join(world.loop);
    asker_free(world.asker);
    workpool_free(world.pool);
    free(world.manifest);
    loop_free(world.loop);
    clock_set_fake(-1, 0);
    return 0;
}

static void on_answer(const struct ask_answer *a, void *arg) {
    (void)arg;
    world.code = a->end.code;
    sem_post(&world.answered);
}

static void put(void *arg) {
    (void)arg;
    ask(world.asker, &world.rq, &world.deadline, on_answer, NULL);
}

/* How often the source has been asked so far, once this question is answered. */
static int asked_after(const char *upstream, const char *path, enum fetch_kind kind) {
    world.rq = (struct fetch_request){.kind = kind, .ref = {.tag = "1"}};
    snprintf(world.rq.repo.upstream, sizeof(world.rq.repo.upstream), "%s", upstream);
    snprintf(world.rq.repo.path, sizeof(world.rq.repo.path), "%s", path);
    loop_call(world.loop, put, NULL);
    sem_wait(&world.answered);
    assert_int_equal(world.code, world.refuser.code);
    return atomic_load(&world.refuser.asked);
}

static void an_answer_that_breaks_off_is_asked_for_once_more(void **state) {
    (void)state;
    atomic_store(&world.breaks, 1);
    assert_int_equal(asked_after("docker.io", "cut/once", FETCH_TAGS), 2);
    atomic_store(&world.breaks, 2);
    world.refuser.code = ERR_UPSTREAM;
    assert_int_equal(asked_after("docker.io", "cut/twice", FETCH_TAGS), 4);
}

static void a_not_found_is_remembered_for_a_while(void **state) {
    (void)state;
    assert_int_equal(asked_after("docker.io", "library/a", FETCH_MANIFEST_HEAD), 1);
    assert_int_equal(asked_after("docker.io", "library/a", FETCH_MANIFEST_HEAD), 1);
    clock_set_fake(1000000 + NEGATIVE_MS + 1, 1003);
    assert_int_equal(asked_after("docker.io", "library/a", FETCH_MANIFEST_HEAD), 2);
}

static void hosted_content_is_asked_for_again_after_a_not_found(void **state) {
    (void)state;
    assert_int_equal(asked_after("", "team/app", FETCH_MANIFEST_HEAD), 1);
    assert_int_equal(asked_after("", "team/app", FETCH_MANIFEST_HEAD), 2);
    assert_int_equal(asked_after("", "team/app", FETCH_TAGS), 3);
    assert_int_equal(asked_after("", "team/app", FETCH_TAGS), 4);
}

static void a_failure_of_central_is_remembered_for_hosted_names_too(void **state) {
    (void)state;
    world.refuser.code = ERR_TIMEOUT;
    assert_int_equal(asked_after("", "team/app", FETCH_MANIFEST_HEAD), 1);
    assert_int_equal(asked_after("", "team/app", FETCH_MANIFEST_HEAD), 1);
}

static void a_refusal_that_cost_nothing_is_not_remembered(void **state) {
    (void)state;
    world.refuser.code = ERR_UNREACHABLE;
    assert_int_equal(asked_after("docker.io", "library/a", FETCH_MANIFEST_HEAD), 1);
    assert_int_equal(asked_after("docker.io", "library/a", FETCH_MANIFEST_HEAD), 1);
    world.not_sent = true;
    assert_int_equal(asked_after("docker.io", "library/b", FETCH_MANIFEST_HEAD), 2);
    assert_int_equal(asked_after("docker.io", "library/b", FETCH_MANIFEST_HEAD), 3);
}

/* Whoever waits is told in time; the answer, when it comes, is for who asks next. */
static void a_silent_source_is_a_timeout_and_is_asked_on(void **state) {
    (void)state;
    atomic_store(&world.silent, true);
    world.rq = (struct fetch_request){.kind = FETCH_BLOB_HEAD, .repo = {.upstream = "docker.io", .path = "library/a"}};
    for (int i = 0; i < 2; i++) {
        /* The second one's is over before it asks, as where an earlier step for the same request has taken all of it.
         */
        world.deadline = deadline_after(clock_mono_ms() - i * 60000, 20);
        loop_call(world.loop, put, NULL);
        sem_wait(&world.answered);
        assert_int_equal(world.code, ERR_TIMEOUT);
        assert_int_equal(atomic_load(&world.refuser.asked), 1);
    }
    /* Without one it waits for the source. */
    world.deadline = (struct deadline){0};
    loop_call(world.loop, put, NULL);
    atomic_store(&world.silent, false);
    sem_wait(&world.answered);
    assert_int_equal(world.code, ERR_NOT_FOUND);
    assert_int_equal(atomic_load(&world.refuser.asked), 1);
}

static void put_manifest(void *arg) {
    (void)arg;
    const struct fetch_request rq = {
        .kind = FETCH_MANIFEST, .repo = {.upstream = "docker.io", .path = "library/large"}, .ref = {.tag = "1"}};
    ask(world.asker, &rq, NULL, on_answer, NULL);
}

static sem_t let_go;
static void hold(struct work *w) {
    (void)w;
    sem_wait(&let_go);
}

/* The pool's only thread is kept busy, so what would be read on the fetch loop could be answered. */
static void the_fetch_loop_goes_on_while_a_large_manifest_is_read(void **state) {
    (void)state;
    enum { SIZE = 100000 };
    struct work busy = {.fn = hold};
    world.manifest = malloc(SIZE + 1);
    assert_non_null(world.manifest);
    memset(world.manifest, ' ', SIZE);
    memcpy(world.manifest, "{\"manifests\":[]", 15);
    world.manifest[SIZE - 1] = '}';
    world.manifest[SIZE] = '\0';
    sem_init(&let_go, 0, 0);
    workpool_submit(world.pool, &busy);
    loop_call(world.loop, put_manifest, NULL);
    assert_int_equal(asked_after("docker.io", "library/a", FETCH_BLOB_HEAD), 2);
    int waiting = 0;
    sem_getvalue(&world.answered, &waiting);
    assert_int_equal(waiting, 0);
    sem_post(&let_go);
    sem_wait(&world.answered);
    assert_int_equal(world.code, 0);
    workpool_wait_idle(world.pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_that_breaks_off_is_asked_for_once_more, start, stop),
        cmocka_unit_test_setup_teardown(a_not_found_is_remembered_for_a_while, start, stop),
        cmocka_unit_test_setup_teardown(hosted_content_is_asked_for_again_after_a_not_found, start, stop),
        cmocka_unit_test_setup_teardown(a_failure_of_central_is_remembered_for_hosted_names_too, start, stop),
        cmocka_unit_test_setup_teardown(a_refusal_that_cost_nothing_is_not_remembered, start, stop),
        cmocka_unit_test_setup_teardown(a_silent_source_is_a_timeout_and_is_asked_on, start, stop),
        cmocka_unit_test_setup_teardown(the_fetch_loop_goes_on_while_a_large_manifest_is_read, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
