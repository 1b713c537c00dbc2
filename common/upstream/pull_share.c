/* Counts each caller's pulls. Thread: as pull_share.h says. */
#include "common/upstream/pull_share.h"

#include "common/core/buf.h"
#include "common/core/map.h"

#include <string.h>

#define CALLERS_MAX 10000 /* more are forgotten together: they had few each */
#define WINDOW_S 3600     /* where the registry tells none */

void pull_share_fini(struct pull_share *p) {
    map_free(p->had);
}

uint64_t pull_share_had(const struct pull_share *p, const struct caller *caller) {
    return p->had ? (uintptr_t)map_get(p->had, caller, sizeof(*caller)) : 0;
}

bool pull_share_may(struct pull_share *p, const struct ratelimit *limit, const struct caller *caller) {
    /* Of a limit without a time nobody knows when there is more; one that is used up is the endpoint's to heed. */
    bool has_time = limit->window_s > 0 || limit->reset_ms > 0;
    if (!limit->known || !has_time || limit->limit <= 0 || limit->remaining <= 0) return true;
    uint64_t most = (uint64_t)limit->limit, told = (uint64_t)limit->remaining;
    uint64_t left = told > p->under_way ? told - p->under_way : 0;
    if (left > most / 4) return true;
    uint64_t had = pull_share_had(p, caller), callers = (p->had ? map_len(p->had) : 0) + (had == 0);
    if (left > most / 8) return had < most / callers + 1;
    return had == 0 || had < left;
}

static bool collect(const void *key, size_t len, void *value, void *arg) {
    (void)value;
    return buf_add(arg, key, len) == 0;
}

static void halve(struct pull_share *p) {
    struct buf keys;
    buf_init(&keys, 0);
    map_each(p->had, collect, &keys);
    for (size_t at = 0; at + sizeof(struct caller) <= keys.len; at += sizeof(struct caller)) {
        uintptr_t n = (uintptr_t)map_get(p->had, keys.data + at, sizeof(struct caller)) / 2;
        if (n)
            map_set(p->had, keys.data + at, sizeof(struct caller), (void *)n);
        else
            map_take(p->had, keys.data + at, sizeof(struct caller));
    }
    buf_fini(&keys);
}

void pull_share_took(struct pull_share *p, const struct ratelimit *limit, const struct caller *caller, int64_t now_ms) {
    if (!p->had) p->had = map_new(NULL);
    int64_t quarter_ms = (limit->window_s > 0 ? limit->window_s : WINDOW_S) * 250;
    if (p->next_halving_ms && now_ms >= p->next_halving_ms) halve(p);
    if (now_ms >= p->next_halving_ms) p->next_halving_ms = now_ms + quarter_ms;
    if (map_len(p->had) >= CALLERS_MAX) {
        map_free(p->had);
        p->had = map_new(NULL);
    }
    map_set(p->had, caller, sizeof(*caller), (void *)(uintptr_t)(pull_share_had(p, caller) + 1));
    p->under_way++;
}

void pull_share_answered(struct pull_share *p) {
    p->under_way--;
}
