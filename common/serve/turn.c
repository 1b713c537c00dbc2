/* A share under a lock, in front of a pool. Thread: any. */
#include "common/serve/turn.h"

#include "common/core/alloc.h"
#include "common/core/thread.h"

#include <pthread.h>

struct turns {
    struct turns_config cfg;
    pthread_mutex_t lock; /* guards the share and `placed`, for a few instructions */
    struct share *share;
    struct turn *placed; /* to be submitted when the lock is given back */
};

static void on_placed(struct share_entry *e, void *arg) {
    struct turns *ts = arg;
    struct turn *t = container_of(e, struct turn, place);
    t->next = ts->placed;
    ts->placed = t;
}

/* Unlocks, and submits the jobs that have got a place. */
static void unlock(struct turns *ts) {
    struct turn *t = ts->placed;
    ts->placed = NULL;
    pthread_mutex_unlock(&ts->lock);
    for (struct turn *next; t; t = next) {
        next = t->next;
        workpool_submit(ts->cfg.pool, &t->work);
    }
}

/* A list of 100,000 tags keeps a processor busy for 50 ms, so these threads give way to those that pulls need. */
static void give_way(void) {
    static _Thread_local bool given;
    if (!given) thread_lower_priority();
    given = true;
}

/* Work pool. */
static void run_turn(struct work *w) {
    struct turn *t = container_of(w, struct turn, work);
    struct turns *ts = t->turns;
    give_way();
    if (!atomic_load_explicit(&t->unwanted, memory_order_relaxed)) t->run(t);
    pthread_mutex_lock(&ts->lock);
    share_leave(ts->share, &t->place);
    unlock(ts);
    loop_post(t->loop, &t->back);
}

int turns_take(struct turns *ts, struct turn *t, const struct caller *caller) {
    t->turns = ts;
    t->work.fn = run_turn;
    t->loop = loop_current();
    atomic_store_explicit(&t->unwanted, false, memory_order_relaxed);
    pthread_mutex_lock(&ts->lock);
    int r = share_enter(ts->share, &t->place, caller, 0, false);
    unlock(ts);
    return r;
}

void turn_unwanted(struct turn *t) {
    atomic_store_explicit(&t->unwanted, true, memory_order_relaxed);
}

struct turns *turns_new(const struct turns_config *cfg) {
    struct turns *ts = xcalloc(1, sizeof(*ts));
    ts->cfg = *cfg;
    pthread_mutex_init(&ts->lock, NULL);
    ts->share = share_new(&(struct share_config){.places = cfg->threads,
                                                 .kinds = {{.most_of_one = (cfg->threads + 1) / 2}},
                                                 .queue_of_one = cfg->queue_of_one,
                                                 .queue = cfg->queue,
                                                 .placed = on_placed,
                                                 .arg = ts});
    return ts;
}

void turns_free(struct turns *ts) {
    if (!ts) return;
    share_free(ts->share);
    pthread_mutex_destroy(&ts->lock);
    free(ts);
}

void turns_stats(const struct turns *ts, struct share_stats *out) {
    share_stats(ts->share, out);
}
