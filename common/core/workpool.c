/* A fixed number of threads that share one queue. Thread: any. */
#include "common/core/workpool.h"

#include "common/core/alloc.h"

#include <pthread.h>

struct workpool {
    pthread_mutex_t lock; /* guards the queue and stopping; held for a few instructions */
    pthread_cond_t some, idle;
    unsigned busy;
    struct work *first, **last;
    bool stopping;
    const char *name;
    unsigned n;
    pthread_t threads[];
};

static struct work *next_job(struct workpool *p) {
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stopping)
        pthread_cond_wait(&p->some, &p->lock);
    struct work *w = p->first;
    if (w) {
        p->first = w->next;
        if (!p->first) p->last = &p->first;
        p->busy++;
    }
    pthread_mutex_unlock(&p->lock);
    return w;
}

static void *thread_main(void *arg) {
    struct workpool *p = arg;
    pthread_setname_np(pthread_self(), p->name);
    for (struct work *w; (w = next_job(p));) {
        w->fn(w);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0 && !p->first) pthread_cond_broadcast(&p->idle);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

struct workpool *workpool_new(const char *name, unsigned threads) {
    struct workpool *p = xcalloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->some, NULL);
    pthread_cond_init(&p->idle, NULL);
    p->last = &p->first;
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
    *p->last = w;
    p->last = &w->next;
    pthread_cond_signal(&p->some);
    pthread_mutex_unlock(&p->lock);
}

void workpool_wait_idle(struct workpool *p) {
    pthread_mutex_lock(&p->lock);
    while (p->first || p->busy)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
