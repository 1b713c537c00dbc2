/* A map by key, and a queue by age. An answer has more references than the one here only while somebody sends it or
 * reads it; then dropping it would free nothing. Thread: any (a lock). */
#include "common/source/remembered.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/map.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#define REMEMBERED_MAX 1000

struct memory {
    TAILQ_ENTRY(memory) by_age;
    char *key;
    struct ask_answer *answer;
    int64_t until_ms;
    int64_t charged; /* to ANSWERS, beside the answer's body */
};
TAILQ_HEAD(memory_queue, memory);

struct remembered {
    pthread_mutex_t lock;
    struct map *by_key;
    struct memory_queue oldest_first;
};

/* Called under the lock, as are the functions up to the next title. */
static void drop(struct remembered *r, struct memory *m) {
    map_take(r->by_key, m->key, strlen(m->key));
    TAILQ_REMOVE(&r->oldest_first, m, by_age);
    budget_give(BUDGET_ANSWERS, m->charged);
    ask_answer_unref(m->answer);
    free(m->key);
    free(m);
}

static bool is_in_use(const struct memory *m) {
    return atomic_load_explicit(&m->answer->refs, memory_order_acquire) > 1;
}

/* True if dropping it would give bytes back to the budget. */
static bool holds_of(const struct memory *m, enum budget b) {
    return b == BUDGET_ANSWERS || (m->answer->budget == b && m->answer->charged > 0);
}

/* --- */

static bool drop_oldest(enum budget b, void *arg) {
    struct remembered *r = arg;
    pthread_mutex_lock(&r->lock);
    struct memory *m = TAILQ_FIRST(&r->oldest_first);
    while (m && (is_in_use(m) || !holds_of(m, b)))
        m = TAILQ_NEXT(m, by_age);
    if (m) drop(r, m);
    pthread_mutex_unlock(&r->lock);
    return m != NULL;
}

struct remembered *remembered_new(void) {
    struct remembered *r = xcalloc(1, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
    r->by_key = map_new(NULL);
    TAILQ_INIT(&r->oldest_first);
    budget_set_drop(BUDGET_ANSWERS, drop_oldest, r);
    budget_set_drop(BUDGET_LISTS, drop_oldest, r);
    return r;
}

void remembered_free(struct remembered *r) {
    if (!r) return;
    budget_set_drop(BUDGET_ANSWERS, NULL, NULL);
    budget_set_drop(BUDGET_LISTS, NULL, NULL);
    remembered_clear(r);
    map_free(r->by_key);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct ask_answer *remembered_get(struct remembered *r, const char *key) {
    pthread_mutex_lock(&r->lock);
    struct memory *m = map_get_s(r->by_key, key);
    struct ask_answer *a = m && m->until_ms > clock_mono_ms() ? ask_answer_ref(m->answer) : NULL;
    pthread_mutex_unlock(&r->lock);
    return a;
}

void remembered_add(struct remembered *r, const char *key, const struct ask_answer *answer, int64_t ms) {
    int64_t charged = (int64_t)(sizeof(struct memory) + sizeof(*answer) + strlen(key));
    if (!budget_take(BUDGET_ANSWERS, charged)) return; /* not under the lock: it calls drop_oldest */
    struct memory *m = xcalloc(1, sizeof(*m));
    m->key = xstrdup(key);
    m->charged = charged;
    m->answer = ask_answer_ref(answer);
    m->until_ms = clock_mono_ms() + ms;
    pthread_mutex_lock(&r->lock);
    struct memory *before = map_get_s(r->by_key, key);
    if (before) drop(r, before);
    if (map_len(r->by_key) >= REMEMBERED_MAX) drop(r, TAILQ_FIRST(&r->oldest_first));
    map_set_s(r->by_key, key, m);
    TAILQ_INSERT_TAIL(&r->oldest_first, m, by_age);
    pthread_mutex_unlock(&r->lock);
}

/* Lifetimes differ, so that an old one may outlive a newer one. */
bool remembered_sweep(struct remembered *r) {
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&r->lock);
    struct memory *next;
    for (struct memory *m = TAILQ_FIRST(&r->oldest_first); m; m = next) {
        next = TAILQ_NEXT(m, by_age);
        if (m->until_ms <= now) drop(r, m);
    }
    bool any = !TAILQ_EMPTY(&r->oldest_first);
    pthread_mutex_unlock(&r->lock);
    return any;
}

void remembered_clear(struct remembered *r) {
    pthread_mutex_lock(&r->lock);
    while (!TAILQ_EMPTY(&r->oldest_first))
        drop(r, TAILQ_FIRST(&r->oldest_first));
    pthread_mutex_unlock(&r->lock);
}
