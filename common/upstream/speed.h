/* Measures the speed of an endpoint's bodies: the usual speed, and the present speed of one body. Plain values; the
 * caller passes the time. Thread: the fetch loop. */
#ifndef ENTREPOT_UPSTREAM_SPEED_H
#define ENTREPOT_UPSTREAM_SPEED_H

#include "common/core/base.h"

#define SPEED_SAMPLES 16
#define SPEED_KNOWN 5 /* samples that make a usual speed */

/* The usual speed of an endpoint. All speeds are what one body would get alone: the measured speed is multiplied by the
 * number of bodies at that time. Otherwise each of many parallel bodies would look slow. */
struct speed {
    int64_t samples[SPEED_SAMPLES]; /* bytes a second, the latest ones */
    unsigned n;                     /* samples taken since the start */
    unsigned bodies;                /* being received now */
    int64_t body_us, since_us;      /* microseconds times bodies, up to since_us */
};
/* by: 1 when a body begins, -1 when it ends. */
void speed_bodies(struct speed *s, int by, int64_t now_us);
void speed_add(struct speed *s, int64_t bytes_per_s);
/* The median in bytes a second; 0: not known yet. */
int64_t speed_usual(const struct speed *s);

/* One measurement: the last few seconds of one body. */
struct speed_sample {
    int64_t began_us, body_us;
    int64_t bytes; /* counted by its owner */
    bool held;     /* the fetch was paused by us, so the sample says nothing about the endpoint */
};
void speed_sample_begin(struct speed_sample *t, const struct speed *s, bool held, int64_t now_us);
/* Bytes a second, as if the body had come alone. */
int64_t speed_sample_rate(const struct speed_sample *t, const struct speed *s, int64_t now_us);

#endif
