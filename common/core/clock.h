/* Time: monotonic for deadlines, wall for people and records. Thread: any. */
#ifndef ENTREPOT_CORE_CLOCK_H
#define ENTREPOT_CORE_CLOCK_H

#include "common/core/base.h"

/* Milliseconds / microseconds of CLOCK_MONOTONIC. Tests may freeze it with clock_set_fake_ms. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Seconds since the epoch, UTC. */
int64_t clock_wall_s(void);
/* "2026-11-28 16:33 UTC", for people. Returns out. */
#define CLOCK_DATE_MAX 40
char *clock_date(int64_t wall_s, char out[CLOCK_DATE_MAX]);
/* Until when something is waited for. It is set once, when a request has come, and handed on to every step that is
 * taken for it. All zero: there is none. */
struct deadline {
    int64_t at_ms;     /* monotonic */
    int64_t within_ms; /* how much time it gave, for people */
};
/* For what has begun then. within_ms 0: none. */
struct deadline deadline_after(int64_t began_ms, int64_t within_ms);
/* For a timer: what is left, at least 0. Only of one that is set. */
int64_t deadline_left_ms(const struct deadline *d);
/* Test only: from now on all three clocks answer from `ms` (monotonic) and `wall_s`; ms < 0 returns to the real clocks.
 */
void clock_set_fake(int64_t ms, int64_t wall_s);

#endif
