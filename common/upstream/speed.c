/* How fast the bodies of an endpoint come. Thread: the fetch loop. */
#include "common/upstream/speed.h"

#include <stdlib.h>
#include <string.h>

/* Up to now, in microseconds times bodies. */
static int64_t body_us(const struct speed *s, int64_t now_us) {
    return s->body_us + (int64_t)s->bodies * (now_us - s->since_us);
}

void speed_bodies(struct speed *s, int by, int64_t now_us) {
    s->body_us = body_us(s, now_us);
    s->since_us = now_us;
    s->bodies = (unsigned)((int)s->bodies + by);
}

void speed_add(struct speed *s, int64_t bytes_per_s) {
    s->samples[s->n++ % SPEED_SAMPLES] = bytes_per_s;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t speed_usual(const struct speed *s) {
    if (s->n < SPEED_KNOWN) return 0;
    size_t n = s->n < SPEED_SAMPLES ? s->n : SPEED_SAMPLES;
    int64_t sorted[SPEED_SAMPLES];
    memcpy(sorted, s->samples, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_size);
    return sorted[n / 2];
}

void speed_sample_begin(struct speed_sample *t, const struct speed *s, bool held, int64_t now_us) {
    *t = (struct speed_sample){.began_us = now_us, .body_us = body_us(s, now_us), .held = held};
}

int64_t speed_sample_rate(const struct speed_sample *t, const struct speed *s, int64_t now_us) {
    double us = (double)(now_us - t->began_us), together = (double)(body_us(s, now_us) - t->body_us);
    if (us < 1) return 0;
    return (int64_t)((double)t->bytes * 1e6 / us * (together / us));
}
