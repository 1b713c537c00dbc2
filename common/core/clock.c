/* Clocks, which tests can set. Thread: any. */
#include "common/core/clock.h"

#include <stdio.h>

#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>

static _Atomic int64_t fake_ms = -1;
static _Atomic int64_t fake_wall_s;

static int64_t now_us(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void) {
    int64_t fake = atomic_load_explicit(&fake_ms, memory_order_relaxed);
    return fake >= 0 ? fake * 1000 : now_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void) {
    return clock_mono_us() / 1000;
}

int64_t clock_jitter_ms(int64_t ms) {
    uint32_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) return ms;
    return ms / 2 + (int64_t)(random % (uint32_t)(ms + 1));
}

int64_t clock_wall_s(void) {
    if (atomic_load_explicit(&fake_ms, memory_order_relaxed) >= 0) {
        return atomic_load_explicit(&fake_wall_s, memory_order_relaxed);
    }
    return (int64_t)time(NULL);
}

struct deadline deadline_after(int64_t began_ms, int64_t within_ms) {
    return within_ms > 0 ? (struct deadline){began_ms + within_ms, within_ms} : (struct deadline){0};
}

int64_t deadline_left_ms(const struct deadline *d) {
    int64_t left = d->at_ms - clock_mono_ms();
    return left > 0 ? left : 0;
}

void clock_set_fake(int64_t ms, int64_t wall_s) {
    atomic_store_explicit(&fake_wall_s, wall_s, memory_order_relaxed);
    atomic_store_explicit(&fake_ms, ms, memory_order_relaxed);
}

char *clock_date(int64_t wall_s, char out[CLOCK_DATE_MAX]) {
    time_t t = (time_t)wall_s;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(out, CLOCK_DATE_MAX, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        snprintf(out, CLOCK_DATE_MAX, "an unknown date");
    return out;
}
