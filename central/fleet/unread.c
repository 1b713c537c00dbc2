/* Counts by edge. Thread: as the header says. */
#include "central/fleet/unread.h"

#include "common/core/alloc.h"
#include "common/core/map.h"

#include <pthread.h>

struct unread {
    size_t most_of_one;
    pthread_mutex_t lock;
    struct map *bytes; /* caller_node() -> bytes; nothing: none */
};

struct unread *unread_new(size_t most_of_one) {
    struct unread *u = xcalloc(1, sizeof(*u));
    u->most_of_one = most_of_one;
    u->bytes = map_new(NULL);
    pthread_mutex_init(&u->lock, NULL);
    return u;
}

void unread_free(struct unread *u) {
    if (!u) return;
    map_free(u->bytes);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

bool unread_take(struct unread *u, const struct caller *edge, size_t bytes) {
    if (!u || bytes == 0) return true;
    const struct caller key = caller_node(edge);
    pthread_mutex_lock(&u->lock);
    size_t before = (size_t)(uintptr_t)map_get(u->bytes, &key, sizeof(key));
    bool fits = before == 0 || (before < u->most_of_one && bytes <= u->most_of_one - before);
    if (fits) map_set(u->bytes, &key, sizeof(key), (void *)(uintptr_t)(before + bytes));
    pthread_mutex_unlock(&u->lock);
    return fits;
}

void unread_give(struct unread *u, const struct caller *edge, size_t bytes) {
    if (!u || bytes == 0) return;
    const struct caller key = caller_node(edge);
    pthread_mutex_lock(&u->lock);
    size_t before = (size_t)(uintptr_t)map_get(u->bytes, &key, sizeof(key));
    if (before > bytes)
        map_set(u->bytes, &key, sizeof(key), (void *)(uintptr_t)(before - bytes));
    else
        map_del(u->bytes, &key, sizeof(key));
    pthread_mutex_unlock(&u->lock);
}
