/* What the kernel reports about this process: memory, CPU time, descriptors. Thread: any that may read /proc. */
#ifndef ENTREPOT_METRICS_METRICS_PROCESS_H
#define ENTREPOT_METRICS_METRICS_PROCESS_H

#include "common/metrics/metrics.h"

/* Sets the process_* gauges of a page. Values that cannot be read are left out. */
void metrics_process_collect(struct metric_page *p);

#endif
