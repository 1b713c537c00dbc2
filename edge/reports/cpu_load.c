/* Measures processor time, and smooths it. Thread: as cpu_load.h says. */
#include "edge/reports/cpu_load.h"

#include <math.h>
#include <sched.h>
#include <sys/resource.h>

/* After this time, what was measured before counts for a third. */
#define SMOOTH_US 3e6

unsigned load_measure(struct load_meter *m, int64_t cpu_us, int64_t now_us, unsigned cpus) {
    double passed = (double)(now_us - m->at_us);
    if (m->begun && passed > 0) {
        double percent = 100.0 * (double)(cpu_us - m->cpu_us) / (passed * cpus);
        double keeps = exp(-passed / SMOOTH_US);
        m->percent = m->percent * keeps + percent * (1 - keeps);
    }
    m->begun = true;
    m->cpu_us = cpu_us;
    m->at_us = now_us;
    return m->percent <= 0 ? 0 : m->percent >= 100 ? 100 : (unsigned)(m->percent + 0.5);
}

static int64_t us_of(const struct timeval *t) {
    return (int64_t)t->tv_sec * 1000000 + t->tv_usec;
}

int64_t load_cpu_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return us_of(&u.ru_utime) + us_of(&u.ru_stime);
}

unsigned load_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}
