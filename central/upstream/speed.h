/* How fast the bodies of an endpoint come: what is usual for it, and how one of them does at present. Plain values; the
 * time is given. Thread: the fetch loop. */
#ifndef ENTREPOT_CENTRAL_UPSTREAM_SPEED_H
#define ENTREPOT_CENTRAL_UPSTREAM_SPEED_H

#include "common/core/base.h"

#define SPEED_SAMPLES 16
#define SPEED_KNOWN 5 /* samples before anything is usual */

/* An endpoint's. All speeds are what one body would get alone: that of each is multiplied by how many came at the same
 * time, or a busy minute would make every one of them look slow. */
struct speed {
    int64_t samples[SPEED_SAMPLES]; /* bytes a second, the latest ones */
    unsigned n;                     /* taken, ever */
    unsigned bodies;                /* that come now */
    int64_t body_us, since_us;      /* microseconds times bodies, up to since_us */
};
/* One body more, or less. */
void speed_bodies(struct speed *s, int by, int64_t now_us);
void speed_add(struct speed *s, int64_t bytes_per_s);
/* The median; 0: not known yet. */
int64_t speed_usual(const struct speed *s);

/* A body's last few seconds. */
struct stretch {
    int64_t began_us, body_us;
    int64_t bytes; /* counted by its owner */
    bool held;     /* we did not want more for a while: it says nothing about the endpoint */
};
void stretch_begin(struct stretch *t, const struct speed *s, bool held, int64_t now_us);
/* Bytes a second, as said above. */
int64_t stretch_speed(const struct stretch *t, const struct speed *s, int64_t now_us);

#endif
