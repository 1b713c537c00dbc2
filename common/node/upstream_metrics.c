/* Thread: any. */
#include "common/node/upstream_metrics.h"

#include "common/node/share_metrics.h"

void upstream_metrics(struct upstream *u, struct metric_page *page) {
    struct upstream_stats s;
    upstream_stats(u, &s);
    const char *name = upstream_config(u)->name;
    metric_label_set(page, FAMILY_UPSTREAM_REQUESTS, name, "ok", (double)(s.requests - s.failures));
    metric_label_set(page, FAMILY_UPSTREAM_REQUESTS, name, "failed", (double)s.failures);
    metric_label_set(page, FAMILY_TOKEN_FETCHES, name, NULL, (double)s.tokens);
    metric_label_set(page, FAMILY_BREAKER_OPEN, name, NULL, s.reachable ? 0 : 1);
    metric_label_set(page, FAMILY_PULLS_KEPT, name, NULL, (double)s.pulls_kept);
    struct share_stats places;
    upstream_places(u, &places);
    share_metrics(page, name, &places);
    metric_label_set(page, FAMILY_UPSTREAM_WAIT, name, NULL, (double)s.wait_s);
    if (s.limit < 0) return;
    metric_label_set(page, FAMILY_RATE_LIMIT, name, NULL, (double)s.limit);
    metric_label_set(page, FAMILY_RATE_REMAINING, name, NULL, (double)s.remaining);
}
