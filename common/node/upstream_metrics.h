/* The rows that an upstream has on the page of metrics, whoever asks it. Thread: any. */
#ifndef ENTREPOT_NODE_UPSTREAM_METRICS_H
#define ENTREPOT_NODE_UPSTREAM_METRICS_H

#include "common/metrics/metrics.h"
#include "common/upstream/upstream.h"

void upstream_metrics(struct upstream *u, struct metric_page *page);

#endif
