/* What the DNS counts, as metrics. Thread: any. */
#ifndef ENTREPOT_DNS_DNS_METRICS_H
#define ENTREPOT_DNS_DNS_METRICS_H

#include <jansson.h>

#include "common/metrics/metrics.h"

/* doc: as dns_status makes it. */
void dns_metrics(struct metric_page *page, const json_t *doc);

#endif
