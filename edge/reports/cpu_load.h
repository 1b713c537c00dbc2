/* How busy this node is: the share of the machine's processors that the process takes, smoothed over some seconds.
 * Pure. Thread: its owner's. */
#ifndef ENTREPOT_EDGE_REPORTS_CPU_LOAD_H
#define ENTREPOT_EDGE_REPORTS_CPU_LOAD_H

#include "common/core/base.h"

/* Zero-initialise. */
struct load_meter {
    bool begun;
    int64_t cpu_us, at_us; /* as of the last call */
    double percent;
};
/* cpu_us: processor time that the process has taken so far; now_us: monotonic; cpus: that it may run on. Returns the
 * load in percent, at most 100. */
unsigned load_measure(struct load_meter *m, int64_t cpu_us, int64_t now_us, unsigned cpus);
/* The processor time of this process. */
int64_t load_cpu_us(void);
/* On how many processors it may run; at least 1. */
unsigned load_cpus(void);

#endif
