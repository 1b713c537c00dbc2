/* The store's jobs in the work pool, counted, so that closing can wait for them. Thread: any. */
#include "common/store/store_private.h"

void store_work_begin(struct store *s) {
    pthread_mutex_lock(&s->idle_lock);
    s->in_flight++;
    pthread_mutex_unlock(&s->idle_lock);
}

void store_work_end(struct store *s) {
    pthread_mutex_lock(&s->idle_lock);
    s->in_flight--;
    pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->idle_lock);
}

void store_wait_reconciled(struct store *s) {
    pthread_mutex_lock(&s->idle_lock);
    while (!s->reconciled)
        pthread_cond_wait(&s->idle, &s->idle_lock);
    pthread_mutex_unlock(&s->idle_lock);
}
