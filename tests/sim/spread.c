/* Sorts the numbers when they are told. Thread: owned by its user. */
#include "tests/sim/spread.h"

#include "common/core/alloc.h"

#include <stdlib.h>

void spread_add(struct spread *s, int64_t value) {
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 256;
        s->values = xrealloc(s->values, s->cap, sizeof(*s->values));
    }
    s->values[s->n++] = value;
}

void spread_clear(struct spread *s) {
    s->n = 0;
}

void spread_fini(struct spread *s) {
    free(s->values);
    *s = (struct spread){0};
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The value that so many of a thousand do not exceed. */
static double at(const struct spread *s, size_t permille, double unit) {
    size_t i = (s->n * permille + 999) / 1000;
    return (double)s->values[i ? i - 1 : 0] / unit;
}

json_t *spread_json(struct spread *s, double unit) {
    if (s->n == 0) return json_pack("{s:i}", "n", 0);
    qsort(s->values, s->n, sizeof(*s->values), compare);
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "n", (json_int_t)s->n, "min", at(s, 0, unit), "p50", at(s, 500, unit),
                     "p99", at(s, 990, unit), "max", at(s, 1000, unit));
}
