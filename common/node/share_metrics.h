/* Puts the numbers of shares (access/share.h) on the metrics page. Thread: the one that makes the page. */
#ifndef ENTREPOT_NODE_SHARE_METRICS_H
#define ENTREPOT_NODE_SHARE_METRICS_H

#include "common/access/share.h"
#include "common/metrics/metrics.h"

/* door: the value of the label, as in metric_list.h. */
void share_metrics(struct metric_page *page, const char *door, const struct share_stats *s);

#endif
