/* Mirrored tags whose next check is due. Thread: any; all is under one lock. */
#include "central/freshness/due.h"

#include "common/core/alloc.h"
#include "common/core/map.h"

#include <pthread.h>
#include <string.h>

/* Where a new tag finds no place, so many of the others are looked at for one to leave. */
#define SAMPLES 16

struct entry {
    struct due_tag of;
    size_t at; /* in entries */
    int64_t period_ms, asked_ms, next_ms;
    unsigned asks; /* since its last check, and half of those before */
    bool busy;     /* it is being checked */
};

struct due {
    pthread_mutex_t lock;
    struct map *by_name;
    struct entry **entries;
    size_t n, max, sampled;
};

#define KEY_MAX (sizeof(struct repo_name) + TAG_MAX + 1)

/* A warm hit passes here, so nothing is formatted. */
static size_t key_of(const struct due_tag *t, char out[KEY_MAX]) {
    char *end = stpcpy(stpcpy(out, t->repo.upstream) + 1, t->repo.path) + 1;
    return (size_t)(stpcpy(end, t->tag) - out);
}

struct due *due_new(size_t max) {
    struct due *d = xcalloc(1, sizeof(*d));
    pthread_mutex_init(&d->lock, NULL);
    d->by_name = map_new(NULL);
    d->max = max;
    d->entries = xcalloc(max, sizeof(struct entry *));
    return d;
}

void due_free(struct due *d) {
    if (!d) return;
    for (size_t i = 0; i < d->n; i++)
        free(d->entries[i]);
    map_free(d->by_name);
    free(d->entries);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static struct entry *find(const struct due *d, const struct due_tag *t) {
    char key[KEY_MAX];
    size_t len = key_of(t, key);
    return map_get(d->by_name, key, len);
}

static void forget(struct due *d, struct entry *e) {
    char key[KEY_MAX];
    size_t len = key_of(&e->of, key);
    map_del(d->by_name, key, len);
    d->entries[e->at] = d->entries[--d->n];
    d->entries[e->at]->at = e->at;
    free(e);
}

static bool is_forgotten(const struct entry *e, int64_t now_ms) {
    return !e->busy && (now_ms - e->asked_ms) / DUE_PERIODS > e->period_ms;
}

/* False: all that were looked at are asked for more often. */
static bool make_room(struct due *d, int64_t now_ms) {
    struct entry *least = NULL;
    if (d->n < d->max) return true;
    for (size_t i = 0; i < SAMPLES; i++) {
        struct entry *e = d->entries[d->sampled++ % d->n];
        if (is_forgotten(e, now_ms)) {
            forget(d, e);
            return true;
        }
        if (!e->busy && (!least || e->asks < least->asks)) least = e;
    }
    if (!least || least->asks > 1) return false;
    forget(d, least);
    return true;
}

static struct entry *add(struct due *d, const struct due_tag *t) {
    char key[KEY_MAX];
    struct entry *e = xcalloc(1, sizeof(*e));
    e->of = *t;
    e->at = d->n;
    size_t len = key_of(t, key);
    map_set(d->by_name, key, len, e);
    d->entries[d->n++] = e;
    return e;
}

void due_asked(struct due *d, const struct due_tag *t, int64_t period_ms, int64_t age_ms, int64_t now_ms) {
    pthread_mutex_lock(&d->lock);
    struct entry *e = find(d, t);
    if (!e && make_room(d, now_ms)) e = add(d, t);
    if (e) {
        e->period_ms = period_ms;
        e->asked_ms = now_ms;
        e->asks += e->asks < 1000000;
        if (now_ms - age_ms + period_ms > e->next_ms) e->next_ms = now_ms - age_ms + period_ms;
    }
    pthread_mutex_unlock(&d->lock);
}

bool due_take(struct due *d, unsigned upstream, int64_t now_ms, struct due_tag *out) {
    struct entry *most = NULL;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n; i++) {
        struct entry *e = d->entries[i];
        if (e->of.upstream != upstream || e->busy || e->next_ms > now_ms || is_forgotten(e, now_ms)) continue;
        if (!most || e->asks > most->asks) most = e;
    }
    if (most) {
        most->busy = true;
        *out = most->of;
    }
    pthread_mutex_unlock(&d->lock);
    return most != NULL;
}

void due_checked(struct due *d, const struct due_tag *t, int64_t age_ms, int64_t now_ms) {
    pthread_mutex_lock(&d->lock);
    struct entry *e = find(d, t);
    if (e) {
        e->busy = false;
        e->asks /= 2;
        e->next_ms = now_ms - (age_ms > 0 ? age_ms : 0) + e->period_ms;
    }
    pthread_mutex_unlock(&d->lock);
}

size_t due_tidy(struct due *d, int64_t now_ms) {
    pthread_mutex_lock(&d->lock);
    for (size_t i = d->n; i-- > 0;) {
        if (is_forgotten(d->entries[i], now_ms)) forget(d, d->entries[i]);
    }
    size_t left = d->n;
    pthread_mutex_unlock(&d->lock);
    return left;
}
