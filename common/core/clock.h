/* Monotonic time for deadlines, wall clock time for people and records. Thread: any. */
#ifndef ENTREPOT_CORE_CLOCK_H
#define ENTREPOT_CORE_CLOCK_H

#include "common/core/base.h"

/* Milliseconds and microseconds of CLOCK_MONOTONIC. Tests can freeze them with clock_set_fake. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Seconds since the epoch, UTC. */
int64_t clock_wall_s(void);
/* For people: "2026-11-28 16:33 UTC". Writes to out and returns it. */
#define CLOCK_DATE_MAX 40
char *clock_date(int64_t wall_s, char out[CLOCK_DATE_MAX]);
/* The time at which a request gives up. It is set once, when the request arrives, and handed to every step taken for
 * that request. All zero: no deadline. */
struct deadline {
    int64_t at_ms;     /* monotonic */
    int64_t within_ms; /* milliseconds from the start to at_ms, for messages */
};
/* The deadline of something that began at began_ms (monotonic). within_ms 0: no deadline. */
struct deadline deadline_after(int64_t began_ms, int64_t within_ms);
/* Milliseconds left, at least 0, for setting a timer. d must have a deadline. */
int64_t deadline_left_ms(const struct deadline *d);
/* A pause of about ms milliseconds, half to one and a half of it at random, so that many who begin to wait together do
 * not end together. */
int64_t clock_jitter_ms(int64_t ms);
/* Tests only: from now on all three clocks answer from `ms` (monotonic) and `wall_s`; ms < 0 returns to the real
 * ones. */
void clock_set_fake(int64_t ms, int64_t wall_s);

#endif
