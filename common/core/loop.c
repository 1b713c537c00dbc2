/* Event loops and their mailboxes. A mailbox is a lock-free stack of tasks, taken whole and reversed by the loop, so
 * that posting is one compare-and-swap; the eventfd is written only when the stack was empty. Thread: as each function
 * says. */
#include "common/core/loop.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/thread.h"

#include <assert.h>
#include <errno.h>
#include <event2/thread.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

struct loop {
    struct event_base *base;
    struct event *wake;
    int wake_fd;
    const char *name;
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    _Atomic(struct loop_task *) inbox;  /* a stack: newest first */
    struct loop_task *last, **last_end; /* tasks for the end of this pass */
    _Atomic int64_t pass_began_us;      /* 0: waiting for events */
    _Atomic int64_t longest_pass_us;
};

static _Thread_local struct loop *current;

/* Runs what is in the inbox, in posting order. */
static void run_inbox(struct loop *l) {
    struct loop_task *newest = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acq_rel), *oldest = NULL;
    while (newest) {
        struct loop_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_task *task = oldest;
        oldest = task->next;
        /* An acquire-release exchange, so that fn sees what a loop_post_once that found it waiting had written. */
        atomic_exchange_explicit(&task->waiting, false, memory_order_acq_rel);
        task->fn(task);
    }
}

int64_t loop_enter(struct loop *l) {
    int64_t began = atomic_load_explicit(&l->pass_began_us, memory_order_relaxed);
    if (began) return began;
    began = clock_mono_us();
    atomic_store_explicit(&l->pass_began_us, began, memory_order_relaxed);
    return began;
}

void loop_post_last(struct loop *l, struct loop_task *task) {
    if (atomic_exchange_explicit(&task->waiting, true, memory_order_relaxed)) return;
    task->next = NULL;
    *l->last_end = task;
    l->last_end = &task->next;
}

/* Tasks that are posted meanwhile run at the end of the next pass, which then does not wait for events. */
static void run_last(struct loop *l) {
    struct loop_task *task = l->last;
    l->last = NULL;
    l->last_end = &l->last;
    while (task) {
        struct loop_task *next = task->next;
        atomic_store_explicit(&task->waiting, false, memory_order_relaxed);
        task->fn(task);
        task = next;
    }
    if (l->last) event_active(l->wake, EV_READ, 1);
}

/* Called after all callbacks of a pass: ends it. */
static void pass_over(struct loop *l) {
    run_last(l);
    int64_t began = atomic_load_explicit(&l->pass_began_us, memory_order_relaxed);
    if (!began) return;
    int64_t took = clock_mono_us() - began;
    atomic_store_explicit(&l->pass_began_us, 0, memory_order_relaxed);
    if (took > atomic_load_explicit(&l->longest_pass_us, memory_order_relaxed)) {
        atomic_store_explicit(&l->longest_pass_us, took, memory_order_relaxed);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct loop *l = arg;
    loop_enter(l);
    uint64_t count;
    if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN) abort();
    run_inbox(l);
    if (atomic_load_explicit(&l->stopping, memory_order_acquire)) event_base_loopbreak(l->base);
}

static void wake(struct loop *l) {
    uint64_t one = 1;
    while (write(l->wake_fd, &one, sizeof(one)) < 0) {
        if (errno == EAGAIN) return; /* the counter is full, so the loop has been woken */
        if (errno != EINTR) abort();
    }
}

static void init_threads(void) {
    if (evthread_use_pthreads() != 0) abort();
}

struct loop *loop_new(const char *name) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_threads);
    struct loop *l = xcalloc(1, sizeof(*l));
    /* The base has no lock, because other threads use the mailbox only. It has no precise timers: they would cost one
     * timerfd_settime a pass, and milliseconds are precise enough here. */
    struct event_config *cfg = event_config_new();
    if (!cfg) out_of_memory();
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    l->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    l->name = name;
    l->last_end = &l->last;
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!l->base || l->wake_fd < 0) abort();
    l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
    if (!l->wake) out_of_memory();
    if (event_add(l->wake, NULL) != 0) abort();
    return l;
}

bool loop_run_pending(struct loop *l) {
    assert(!l->started);
    if (!atomic_load_explicit(&l->inbox, memory_order_acquire)) return false;
    struct loop *outer = current;
    current = l;
    run_inbox(l);
    current = outer;
    return true;
}

void loop_free(struct loop *l) {
    if (!l) return;
    while (loop_run_pending(l)) {}
    run_last(l);
    event_free(l->wake);
    event_base_free(l->base);
    close(l->wake_fd);
    free(l);
}

void loop_run(struct loop *l) {
    struct loop *outer = current;
    current = l;
    while (!atomic_load_explicit(&l->stopping, memory_order_acquire)) {
        /* One pass at a time, so that its duration can be measured. The wake event keeps the base from being empty. */
        if (event_base_loop(l->base, EVLOOP_ONCE) < 0) abort();
        pass_over(l);
    }
    run_inbox(l); /* loop_stop may be called before the first pass */
    atomic_store_explicit(&l->stopping, false, memory_order_release); /* loop_run may be called again */
    current = outer;
}

static void *thread_main(void *arg) {
    struct loop *l = arg;
    pthread_setname_np(pthread_self(), l->name);
    thread_request_short_slices();
    loop_run(l);
    return NULL;
}

void loop_start(struct loop *l) {
    assert(!l->started);
    if (pthread_create(&l->thread, NULL, thread_main, l) != 0) abort();
    l->started = true;
}

void loop_stop(struct loop *l) {
    atomic_store_explicit(&l->stopping, true, memory_order_release);
    wake(l);
}

void loop_join(struct loop *l) {
    if (!l->started) return;
    pthread_join(l->thread, NULL);
    l->started = false;
}

/* Pushes a task that is marked as waiting. */
static void push(struct loop *l, struct loop_task *task) {
    struct loop_task *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
    do {
        task->next = head;
    } while (
        !atomic_compare_exchange_weak_explicit(&l->inbox, &head, task, memory_order_release, memory_order_relaxed));
    if (!head) wake(l);
}

void loop_post(struct loop *l, struct loop_task *task) {
    bool was_waiting = atomic_exchange_explicit(&task->waiting, true, memory_order_acq_rel);
    assert(!was_waiting);
    push(l, task);
}

bool loop_post_once(struct loop *l, struct loop_task *task) {
    if (atomic_exchange_explicit(&task->waiting, true, memory_order_acq_rel)) return false;
    push(l, task);
    return true;
}

struct call {
    struct loop_task task;
    void (*fn)(void *arg);
    void *arg;
};

static void run_call(struct loop_task *task) {
    struct call *c = container_of(task, struct call, task);
    void (*fn)(void *) = c->fn;
    void *arg = c->arg;
    free(c);
    fn(arg);
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg) {
    struct call *c = xcalloc(1, sizeof(*c));
    c->task.fn = run_call;
    c->fn = fn;
    c->arg = arg;
    loop_post(l, &c->task);
}

struct event_base *loop_base(struct loop *l) {
    return l->base;
}

struct loop *loop_current(void) {
    return current;
}

int64_t loop_longest_stall_us(struct loop *l, bool reset) {
    int64_t longest = reset ? atomic_exchange_explicit(&l->longest_pass_us, 0, memory_order_relaxed)
                            : atomic_load_explicit(&l->longest_pass_us, memory_order_relaxed);
    int64_t began = atomic_load_explicit(&l->pass_began_us, memory_order_relaxed);
    int64_t so_far = began ? clock_mono_us() - began : 0;
    return so_far > longest ? so_far : longest;
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct timer *t = arg;
    loop_enter(t->loop);
    t->fn(t->arg);
}

void timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg) {
    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    t->ev = evtimer_new(l->base, on_timer, t);
    if (!t->ev) out_of_memory();
}

void timer_set(struct timer *t, int64_t ms) {
    if (ms < 0) ms = 0;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    if (evtimer_add(t->ev, &tv) != 0) abort();
}

void timer_clear(struct timer *t) {
    evtimer_del(t->ev);
}

void timer_fini(struct timer *t) {
    if (t->ev) event_free(t->ev);
    t->ev = NULL;
}
