/* Counts places, shared among callers. Thread: any. */
#include "common/access/slots.h"

#include "common/core/alloc.h"

#include <pthread.h>

struct slots {
    pthread_mutex_t lock; /* guards the share, for a few instructions */
    struct share *share;
};

static void on_placed(struct share_entry *e, void *arg) {
    (void)e;
    (void)arg;
}

struct slots *slots_new(unsigned places) {
    struct slots *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->share = share_new(&(struct share_config){.places = places, .placed = on_placed});
    return s;
}

void slots_free(struct slots *s) {
    if (!s) return;
    share_free(s->share);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int slots_take(struct slots *s, struct share_entry *e, const struct caller *caller) {
    pthread_mutex_lock(&s->lock);
    int r = share_enter(s->share, e, caller, 0, false);
    pthread_mutex_unlock(&s->lock);
    return r;
}

void slots_give(struct slots *s, struct share_entry *e) {
    pthread_mutex_lock(&s->lock);
    share_leave(s->share, e);
    pthread_mutex_unlock(&s->lock);
}

void slots_stats(const struct slots *s, struct share_stats *out) {
    share_stats(s->share, out);
}
