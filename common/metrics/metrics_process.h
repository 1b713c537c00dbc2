/* What the kernel says of this process: memory, CPU time, descriptors. Thread: any that may read /proc. */
#ifndef ENTREPOT_METRICS_METRICS_PROCESS_H
#define ENTREPOT_METRICS_METRICS_PROCESS_H

#include "common/metrics/metrics.h"

/* Sets the process_* gauges of a page; what cannot be read is left out. */
void metrics_process_collect(struct metric_page *p);

#endif
