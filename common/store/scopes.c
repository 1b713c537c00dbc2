/* Names and numbers of scopes: a map under a lock, and a bit for each number that was ever given in this life. Thread:
 * any. */
#include "common/store/scopes.h"

#include "common/core/alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/core/map.h"

/* Below this nobody looks for what is not used. */
#define CROWDED_MIN 1024u
/* Beside a number: it was given since the last sweep. */
#define YOUNG (1u << 24)

struct scopes {
    pthread_rwlock_t lock; /* guards all but epoch; held for a look-up, and for a sweep */
    struct map *ids;       /* name to number, perhaps with YOUNG */
    struct scopes_used *given;
    uint32_t next;            /* no number below it is free */
    size_t max, crowded_from; /* names */
    _Atomic uint64_t epoch;
};

struct scopes *scopes_new(size_t max) {
    struct scopes *s = xcalloc(1, sizeof(*s));
    s->given = xcalloc(1, sizeof(*s->given)); /* 2 MiB of addresses; what is not touched takes no memory */
    pthread_rwlock_init(&s->lock, NULL);
    s->ids = map_new(NULL);
    s->next = 1;
    s->max = max ? max : SCOPES_MAX;
    s->crowded_from = CROWDED_MIN < s->max ? CROWDED_MIN : s->max;
    return s;
}

void scopes_free(struct scopes *s) {
    if (!s) return;
    map_free(s->ids);
    free(s->given);
    pthread_rwlock_destroy(&s->lock);
    free(s);
}

static bool is_given(const struct scopes_used *u, uint32_t id) {
    return u->bits[id / 64] >> (id % 64) & 1;
}

static uint32_t find(const struct scopes *s, const char *name) {
    return (uint32_t)(uintptr_t)map_get_s(s->ids, name) & SCOPE_NUMBER_MAX;
}

uint32_t scopes_find(struct scopes *s, const char *name) {
    pthread_rwlock_rdlock(&s->lock);
    uint32_t id = find(s, name);
    pthread_rwlock_unlock(&s->lock);
    return id;
}

static void give(struct scopes *s, uint32_t id, const char *name, uint32_t young) {
    scopes_use(s->given, id);
    map_set_s(s->ids, name, (void *)(uintptr_t)(id | young));
}

/* Under the lock. 0: there is none. */
static uint32_t free_number(struct scopes *s) {
    if (map_len(s->ids) >= s->max) return 0;
    while (s->next <= SCOPE_NUMBER_MAX && is_given(s->given, s->next))
        s->next++;
    return s->next <= SCOPE_NUMBER_MAX ? s->next : 0;
}

uint32_t scopes_make(struct scopes *s, const char *name, bool *is_new) {
    pthread_rwlock_wrlock(&s->lock);
    uint32_t id = find(s, name);
    *is_new = false;
    if (id == 0) {
        id = free_number(s);
        *is_new = id != 0;
        if (id) give(s, id, name, YOUNG);
    }
    pthread_rwlock_unlock(&s->lock);
    return id;
}

bool scopes_put(struct scopes *s, uint32_t id, const char *name) {
    if (id == 0 || id > SCOPE_NUMBER_MAX) return false;
    pthread_rwlock_wrlock(&s->lock);
    bool ok = !is_given(s->given, id) && find(s, name) == 0;
    if (ok) give(s, id, name, 0);
    pthread_rwlock_unlock(&s->lock);
    return ok;
}

void scopes_reserve(struct scopes *s, uint32_t id) {
    if (id == 0 || id > SCOPE_NUMBER_MAX) return;
    pthread_rwlock_wrlock(&s->lock);
    scopes_use(s->given, id);
    pthread_rwlock_unlock(&s->lock);
}

struct visit {
    void (*fn)(uint32_t id, const char *name, size_t len, void *arg);
    void *arg;
};

static bool visit(const void *key, size_t len, void *value, void *arg) {
    const struct visit *v = arg;
    v->fn((uint32_t)(uintptr_t)value & SCOPE_NUMBER_MAX, key, len, v->arg);
    return true;
}

void scopes_each(struct scopes *s, void (*fn)(uint32_t id, const char *name, size_t len, void *arg), void *arg) {
    struct visit v = {fn, arg};
    pthread_rwlock_rdlock(&s->lock);
    map_each(s->ids, visit, &v);
    pthread_rwlock_unlock(&s->lock);
}

bool scopes_crowded(struct scopes *s) {
    pthread_rwlock_rdlock(&s->lock);
    bool crowded = map_len(s->ids) >= s->crowded_from;
    pthread_rwlock_unlock(&s->lock);
    return crowded;
}

struct sweep {
    const struct scopes_used *used;
    struct {
        uint32_t id;
        bool young;
        char *name;
    } * found;
    size_t n, cap;
};

/* Not in use, or young. */
static bool consider(const void *key, size_t len, void *value, void *arg) {
    struct sweep *w = arg;
    uint32_t id = (uint32_t)(uintptr_t)value & SCOPE_NUMBER_MAX;
    bool young = (uint32_t)(uintptr_t)value & YOUNG;
    if (!young && is_given(w->used, id)) return true;
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->found = xrealloc(w->found, w->cap, sizeof(*w->found));
    }
    w->found[w->n].id = id;
    w->found[w->n].young = young;
    w->found[w->n++].name = xstrndup(key, len);
    return true;
}

size_t scopes_sweep(struct scopes *s, const struct scopes_used *used, uint32_t **gone) {
    struct sweep w = {.used = used};
    size_t n = 0;
    pthread_rwlock_wrlock(&s->lock);
    map_each(s->ids, consider, &w);
    *gone = xcalloc(w.n + 1, sizeof(**gone));
    for (size_t i = 0; i < w.n; i++) {
        map_del_s(s->ids, w.found[i].name);
        if (w.found[i].young)
            give(s, w.found[i].id, w.found[i].name, 0);
        else
            (*gone)[n++] = w.found[i].id;
        free(w.found[i].name);
    }
    s->crowded_from = map_len(s->ids) * 2 > CROWDED_MIN ? map_len(s->ids) * 2 : CROWDED_MIN;
    if (s->crowded_from > s->max) s->crowded_from = s->max;
    if (n) s->epoch++;
    pthread_rwlock_unlock(&s->lock);
    free(w.found);
    return n;
}

uint64_t scopes_epoch(const struct scopes *s) {
    return atomic_load_explicit(&s->epoch, memory_order_acquire);
}
