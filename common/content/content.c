/* The listeners, under a read-write lock: several threads may call them at once, and content_leave waits until a
 * running call has returned. Thread: see content.h. */
#include "common/content/content.h"

#include "common/core/alloc.h"

#include <pthread.h>

#define LISTENERS_MAX 8

struct content {
    struct store *store;
    struct content_record record; /* add is NULL if there is no record */
    pthread_rwlock_t lock;        /* guards the listeners */
    struct content_listener listeners[LISTENERS_MAX];
    size_t n_listeners;
};

struct content *content_new(void) {
    struct content *c = xcalloc(1, sizeof(*c));
    pthread_rwlock_init(&c->lock, NULL);
    return c;
}

void content_free(struct content *c) {
    if (!c) return;
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

void content_set_store(struct content *c, struct store *s) {
    c->store = s;
}

void content_set_record(struct content *c, const struct content_record *r) {
    c->record = r ? *r : (struct content_record){0};
}

void content_listen(struct content *c, const struct content_listener *l) {
    pthread_rwlock_wrlock(&c->lock);
    if (c->n_listeners == LISTENERS_MAX) abort();
    c->listeners[c->n_listeners++] = *l;
    pthread_rwlock_unlock(&c->lock);
}

void content_leave(struct content *c, const void *arg) {
    size_t kept = 0;
    pthread_rwlock_wrlock(&c->lock);
    for (size_t i = 0; i < c->n_listeners; i++) {
        if (c->listeners[i].arg != arg) c->listeners[kept++] = c->listeners[i];
    }
    c->n_listeners = kept;
    pthread_rwlock_unlock(&c->lock);
}

static void tell_store(struct content *c, const struct content_news *n, bool hosted) {
    char repo[REPO_STR_MAX];
    for (size_t i = 0; hosted && i < n->n_blobs; i++)
        store_set_hosted(c->store, &n->blobs[i].digest, true);
    if (n->tag) store_tag_set(c->store, repo_name_str(n->repo, repo), n->tag, n->facts);
}

static void tell_listeners(struct content *c, const struct content_news *n) {
    pthread_rwlock_rdlock(&c->lock);
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct content_listener *l = &c->listeners[i];
        if (l->learned) l->learned(n, l->arg);
    }
    pthread_rwlock_unlock(&c->lock);
}

void content_learn(struct content *c, const struct content_news *n) {
    if (!n->stored) tell_store(c, n, false);
    tell_listeners(c, n);
}

int content_host(struct content *c, const struct content_news *n, struct error *err) {
    if (!c->record.add) return error_set(err, ERR_UNSUPPORTED, "this node hosts nothing");
    int r = c->record.add(n, err, c->record.arg);
    if (r < 0) return r;
    tell_store(c, n, true);
    tell_listeners(c, n);
    return 0;
}

void content_held(struct content *c, const struct digest *d, bool held) {
    pthread_rwlock_rdlock(&c->lock);
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct content_listener *l = &c->listeners[i];
        if (l->held) l->held(d, held, l->arg);
    }
    pthread_rwlock_unlock(&c->lock);
}
