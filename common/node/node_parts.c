/* Walks over the parts that have started. Thread: as node_part.h says of each function. */
#include "common/node/node_parts.h"

#include "common/core/log.h"

#include <stdio.h>

int parts_start(struct node *n, const struct node_part *const *list, struct error *err) {
    for (; *list; list++) {
        const struct node_part *p = *list;
        if (n->n_parts == PARTS_MAX) abort();
        void *self = NULL;
        int r = p->start(n, &self, err);
        if (r < 0) {
            log_debug("part_not_started", KV_S("part", p->name));
            parts_stop(n);
            return r;
        }
        n->parts[n->n_parts++] = (struct part_started){p, self};
    }
    return 0;
}

void parts_running(struct node *n) {
    for (size_t i = 0; i < n->n_parts; i++) {
        const struct part_started *s = &n->parts[i];
        if (s->part->running) s->part->running(s->self);
    }
}

void parts_ending(struct node *n) {
    for (size_t i = n->n_parts; i-- > 0;) {
        const struct part_started *s = &n->parts[i];
        if (s->part->ending) s->part->ending(s->self);
    }
}

void parts_stop(struct node *n) {
    while (n->n_parts > 0) {
        const struct part_started *s = &n->parts[--n->n_parts];
        if (s->part->stop) s->part->stop(s->self);
    }
}

void parts_routes(const struct node *n, struct route_table *t) {
    for (size_t i = 0; i < n->n_parts; i++)
        routes_add(t, n->parts[i].part->routes, n->parts[i].self);
}

void parts_status(const struct node *n, json_t *into) {
    for (size_t i = 0; i < n->n_parts; i++) {
        const struct part_started *s = &n->parts[i];
        if (s->part->status) s->part->status(into, s->self);
    }
}

void parts_doctor(const struct node *n, json_t *into) {
    for (size_t i = 0; i < n->n_parts; i++) {
        const struct part_started *s = &n->parts[i];
        if (s->part->doctor) s->part->doctor(into, s->self);
    }
}

void parts_ready(const struct node *n, json_t *into) {
    for (size_t i = 0; i < n->n_parts; i++) {
        const struct part_started *s = &n->parts[i];
        if (s->part->ready) s->part->ready(into, s->self);
    }
}

void parts_reload(const struct node *n, const struct node_config *fresh, char *words, size_t cap) {
    size_t len = 0;
    for (size_t i = 0; i < n->n_parts; i++) {
        const struct part_started *s = &n->parts[i];
        const char *done = s->part->reload ? s->part->reload(s->self, fresh) : NULL;
        if (done && len < cap) len += (size_t)snprintf(words + len, cap - len, "%s%s", len ? ", " : "", done);
    }
}

void parts_metrics(struct metric_page *page, void *node) {
    const struct node *n = node;
    for (size_t i = 0; i < n->n_parts; i++) {
        const struct part_started *s = &n->parts[i];
        if (s->part->metrics) s->part->metrics(page, s->self);
    }
}

void *node_part(const struct node *n, const struct node_part *p) {
    for (size_t i = 0; i < n->n_parts; i++) {
        if (n->parts[i].part == p) return n->parts[i].self;
    }
    abort();
}
