/* One atomic counter for each budget, changed by compare and exchange. Thread: any (atomic; a lock for dropping). */
#include "common/core/budget.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

struct account {
    const char *name;
    _Atomic int64_t limit, used, peak, refused;
    pthread_mutex_t dropping;
    atomic_int waiting; /* threads in budget_wait */
    pthread_mutex_t lock;
    pthread_cond_t given;
    bool (*drop)(enum budget b, void *arg);
    void *arg;
};

static struct account accounts[BUDGET_COUNT] = {
#define BUDGET_MEMORY(id, n, mib, least, doc)               \
    [BUDGET_##id] = {.name = (n),                           \
                     .limit = (mib)*MiB,                    \
                     .dropping = PTHREAD_MUTEX_INITIALIZER, \
                     .lock = PTHREAD_MUTEX_INITIALIZER,     \
                     .given = PTHREAD_COND_INITIALIZER},
#include "common/core/budget_list.h"
};

static void note_peak(struct account *a, int64_t used) {
    int64_t peak = atomic_load_explicit(&a->peak, memory_order_relaxed);
    while (used > peak &&
           !atomic_compare_exchange_weak_explicit(&a->peak, &peak, used, memory_order_relaxed, memory_order_relaxed)) {}
}

void budget_limit(enum budget b, int64_t limit) {
    atomic_store_explicit(&accounts[b].limit, limit, memory_order_relaxed);
}

bool budget_try(enum budget b, int64_t n) {
    struct account *a = &accounts[b];
    int64_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);
    int64_t used = atomic_load_explicit(&a->used, memory_order_seq_cst); /* see budget_wait */
    while (n <= limit - used) {
        if (!atomic_compare_exchange_weak_explicit(&a->used, &used, used + n, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        note_peak(a, used + n);
        return true;
    }
    return false;
}

void budget_refused(enum budget b) {
    atomic_fetch_add_explicit(&accounts[b].refused, 1, memory_order_relaxed);
}

void budget_set_drop(enum budget b, bool (*drop)(enum budget b, void *arg), void *arg) {
    struct account *a = &accounts[b];
    pthread_mutex_lock(&a->dropping);
    a->drop = drop;
    a->arg = arg;
    pthread_mutex_unlock(&a->dropping);
}

static bool take_after_dropping(enum budget b, int64_t n) {
    struct account *a = &accounts[b];
    if (n > atomic_load_explicit(&a->limit, memory_order_relaxed)) return false;
    pthread_mutex_lock(&a->dropping);
    bool taken = budget_try(b, n);
    while (!taken && a->drop && a->drop(b, a->arg))
        taken = budget_try(b, n);
    pthread_mutex_unlock(&a->dropping);
    return taken;
}

bool budget_take(enum budget b, int64_t n) {
    bool taken = budget_try(b, n) || take_after_dropping(b, n);
    if (!taken) budget_refused(b);
    return taken;
}

/* The waiter says that it waits and then looks; budget_give gives and then looks whether anybody waits. So one of them
 * sees the other. */
bool budget_wait(enum budget b, int64_t n) {
    struct account *a = &accounts[b];
    if (budget_try(b, n)) return true;
    if (n > atomic_load_explicit(&a->limit, memory_order_relaxed)) return false;
    pthread_mutex_lock(&a->lock);
    atomic_fetch_add_explicit(&a->waiting, 1, memory_order_seq_cst);
    while (!budget_try(b, n))
        pthread_cond_wait(&a->given, &a->lock);
    atomic_fetch_sub_explicit(&a->waiting, 1, memory_order_seq_cst);
    pthread_mutex_unlock(&a->lock);
    return true;
}

void budget_force(enum budget b, int64_t n) {
    struct account *a = &accounts[b];
    note_peak(a, atomic_fetch_add_explicit(&a->used, n, memory_order_relaxed) + n);
}

void budget_give(enum budget b, int64_t n) {
    struct account *a = &accounts[b];
    int64_t before = atomic_fetch_sub_explicit(&a->used, n, memory_order_seq_cst);
    assert(before >= n);
    if (n == 0 || atomic_load_explicit(&a->waiting, memory_order_seq_cst) == 0) return;
    pthread_mutex_lock(&a->lock);
    pthread_cond_broadcast(&a->given);
    pthread_mutex_unlock(&a->lock);
}

void budget_read(enum budget b, struct budget_state *out) {
    const struct account *a = &accounts[b];
    *out = (struct budget_state){
        .name = a->name,
        .limit = atomic_load_explicit(&a->limit, memory_order_relaxed),
        .used = atomic_load_explicit(&a->used, memory_order_relaxed),
        .peak = atomic_load_explicit(&a->peak, memory_order_relaxed),
        .refused = atomic_load_explicit(&a->refused, memory_order_relaxed),
    };
}
