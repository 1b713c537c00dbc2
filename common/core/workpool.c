/* A fixed number of threads over queues that take turns. Thread: any for submit. */
#include "common/core/workpool.h"

#include "common/core/alloc.h"

#include <pthread.h>

/* Callers are told apart by their number's remainder: two that have the same share a queue. */
#define QUEUES 256

struct queue {
    struct work *first, **last;
    struct queue *next; /* in turns */
    unsigned running;
};

struct workpool {
    pthread_mutex_t lock; /* guards all but what never changes; held for a few instructions */
    pthread_cond_t some, idle;
    unsigned busy;
    struct queue queues[QUEUES];       /* the node's own is the first */
    struct queue *turns, **turns_last; /* those with jobs that wait, whose turn is next first */
    bool stopping;
    const char *name;
    unsigned n;
    pthread_t threads[];
};

static struct queue *queue_of(struct workpool *p, const struct work *w) {
    return &p->queues[w->whose == 0 ? 0 : 1 + w->whose % (QUEUES - 1)];
}

static void turns_add(struct workpool *p, struct queue *q) {
    q->next = NULL;
    *p->turns_last = q;
    p->turns_last = &q->next;
}

/* The last idle thread is kept for a caller that has none. */
static bool may_start(const struct workpool *p, const struct queue *q) {
    bool is_own = q == &p->queues[0];
    return is_own || q->running == 0 || p->n - p->busy > 1 || p->stopping;
}

/* Takes the queue whose turn it is out of the turns; those that may start nothing keep theirs. NULL: there is none. */
static struct queue *take_turn(struct workpool *p) {
    for (struct queue **link = &p->turns; *link; link = &(*link)->next) {
        struct queue *q = *link;
        if (!may_start(p, q)) continue;
        *link = q->next;
        if (p->turns_last == &q->next) p->turns_last = link;
        return q;
    }
    return NULL;
}

static struct work *next_job(struct workpool *p) {
    struct queue *q;
    while (!(q = take_turn(p))) {
        if (p->stopping) return NULL;
        pthread_cond_wait(&p->some, &p->lock);
    }
    struct work *w = q->first;
    q->first = w->next;
    if (q->first)
        turns_add(p, q);
    else
        q->last = &q->first;
    q->running++;
    p->busy++;
    return w;
}

static void *thread_main(void *arg) {
    struct workpool *p = arg;
    pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(&p->lock);
    for (struct work *w; (w = next_job(p));) {
        struct queue *q = queue_of(p, w);
        pthread_mutex_unlock(&p->lock);
        w->fn(w); /* w may be gone after it */
        pthread_mutex_lock(&p->lock);
        q->running--;
        if (--p->busy == 0 && !p->turns) pthread_cond_broadcast(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct workpool *workpool_new(const char *name, unsigned threads) {
    struct workpool *p = xcalloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->some, NULL);
    pthread_cond_init(&p->idle, NULL);
    for (size_t i = 0; i < QUEUES; i++)
        p->queues[i].last = &p->queues[i].first;
    p->turns_last = &p->turns;
    p->name = name;
    p->n = threads;
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&p->threads[i], NULL, thread_main, p) != 0) abort();
    }
    return p;
}

void workpool_free(struct workpool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->some);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n; i++)
        pthread_join(p->threads[i], NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->some);
    pthread_cond_destroy(&p->idle);
    free(p);
}

void workpool_submit(struct workpool *p, struct work *w) {
    w->next = NULL;
    pthread_mutex_lock(&p->lock);
    struct queue *q = queue_of(p, w);
    if (!q->first) turns_add(p, q);
    *q->last = w;
    q->last = &w->next;
    pthread_cond_signal(&p->some);
    pthread_mutex_unlock(&p->lock);
}

void workpool_wait_idle(struct workpool *p) {
    pthread_mutex_lock(&p->lock);
    while (p->turns || p->busy)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
