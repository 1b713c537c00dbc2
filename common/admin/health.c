/* The list of conditions. Thread: any; one lock, held for a few comparisons. */
#include "common/admin/health.h"

#include "common/core/alloc.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct condition {
    const char *name;
    bool met;
    char reason[200];
};
struct health {
    pthread_mutex_t lock;
    struct condition conditions[HEALTH_CONDITIONS_MAX];
    size_t n;
};

struct health *health_new(void) {
    struct health *h = xcalloc(1, sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void health_free(struct health *h) {
    if (!h) return;
    pthread_mutex_destroy(&h->lock);
    free(h);
}

void health_set(struct health *h, const char *name, const char *reason) {
    pthread_mutex_lock(&h->lock);
    size_t i = 0;
    while (i < h->n && strcmp(h->conditions[i].name, name) != 0)
        i++;
    assert(i < HEALTH_CONDITIONS_MAX);
    struct condition *c = &h->conditions[i];
    if (i == h->n) h->n++;
    c->name = name;
    c->met = !reason;
    snprintf(c->reason, sizeof(c->reason), "%s", reason ? reason : "");
    pthread_mutex_unlock(&h->lock);
}

bool health_ready(struct health *h) {
    pthread_mutex_lock(&h->lock);
    bool ready = h->n > 0;
    for (size_t i = 0; i < h->n; i++)
        ready = ready && h->conditions[i].met;
    pthread_mutex_unlock(&h->lock);
    return ready;
}

json_t *health_json(struct health *h) {
    json_t *reasons = json_array();
    pthread_mutex_lock(&h->lock);
    bool ready = h->n > 0;
    if (!ready)
        json_array_append_new(reasons, json_pack("{s:s,s:s}", "condition", "start", "reason", "still starting"));
    for (size_t i = 0; i < h->n; i++) {
        const struct condition *c = &h->conditions[i];
        if (c->met) continue;
        ready = false;
        json_array_append_new(reasons, json_pack("{s:s,s:s}", "condition", c->name, "reason", c->reason));
    }
    pthread_mutex_unlock(&h->lock);
    return json_pack("{s:b,s:o}", "ready", ready, "reasons", reasons);
}
