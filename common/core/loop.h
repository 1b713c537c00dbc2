/* An event loop with its thread and its mailbox, which is the only way threads reach each other. A message is a struct
 * loop_task inside the object it is about. So posting never allocates and never fails, and the mailbox is bounded by
 * the number of objects. Thread: as each function says. */
#ifndef ENTREPOT_CORE_LOOP_H
#define ENTREPOT_CORE_LOOP_H

#include <event2/event.h>
#include <stdatomic.h>

#include "common/core/base.h"

struct loop;

/* Embedded in the object it concerns. A task may be posted again once its function has been entered; posting it while
 * it is still waiting is a bug (asserted), unless loop_post_once is used. Zero-initialise. */
struct loop_task {
    void (*fn)(struct loop_task *task);
    struct loop_task *next;
    atomic_bool waiting;
};

/* name: at most 15 characters, borrowed; shown as the thread's name. Aborts if resources are out at start-up. */
struct loop *loop_new(const char *name);
/* Only after loop_join (or if never started). Pending tasks are run first. */
void loop_free(struct loop *l);
/* Starts a thread that runs the loop until loop_stop. */
void loop_start(struct loop *l);
/* Runs the loop on the calling thread until loop_stop (the daemon's control loop, and unit tests). */
void loop_run(struct loop *l);
/* Any thread: asks the loop to return after the current callbacks and all tasks already posted. */
void loop_stop(struct loop *l);
void loop_join(struct loop *l);

/* After l's thread has been joined: runs the tasks that were posted since, on the calling thread. True if there were
 * any. */
bool loop_run_pending(struct loop *l);

/* Any thread: runs task->fn on l's thread, in posting order. */
void loop_post(struct loop *l, struct loop_task *task);
/* As loop_post, but does nothing and returns false if the task is already waiting. Its function then sees every change
 * made before this call. */
bool loop_post_once(struct loop *l, struct loop_task *task);
/* Loop thread only: runs task->fn once at the end of this pass, after all its callbacks, however often it was
 * posted. */
void loop_post_last(struct loop *l, struct loop_task *task);
/* Any thread: runs fn(arg) on l's thread; allocates. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);

/* Loop thread only. The libevent base, for sockets and timers. */
struct event_base *loop_base(struct loop *l);
/* The loop whose thread this is, or NULL. */
struct loop *loop_current(void);
/* Loop thread only. Event callbacks call it first; those of timers and of the mailbox need not. Returns the monotonic
 * time in microseconds at which this pass began. A pass is all callbacks that follow one wait for events. */
int64_t loop_enter(struct loop *l);
/* Any thread. For the watchdog: the longest pass in microseconds since the last call with reset, including one that is
 * still running. Another event may have waited that long. */
int64_t loop_longest_stall_us(struct loop *l, bool reset);

/* A timer that fires once each time it is set. Owned by its user. Loop thread only. */
struct timer {
    struct loop *loop;
    struct event *ev;
    void (*fn)(void *arg);
    void *arg;
};
void timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg);
void timer_set(struct timer *t, int64_t ms); /* (re)arms once, ms from now */
void timer_clear(struct timer *t);
void timer_fini(struct timer *t);

#endif
