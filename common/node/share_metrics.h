/* The numbers of what is shared among callers (access/share.h), on the page of metrics. Thread: whoever makes a page.
 */
#ifndef ENTREPOT_NODE_SHARE_METRICS_H
#define ENTREPOT_NODE_SHARE_METRICS_H

#include "common/access/share.h"
#include "common/metrics/metrics.h"

/* door: the label's value, as metric_list.h says. */
void share_metrics(struct metric_page *page, const char *door, const struct share_stats *s);

#endif
