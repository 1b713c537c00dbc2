/* Counters, gauges and histograms in Prometheus' text format. Counting is a plain add in a slot of the calling thread's
 * own, so no cache line is written by two threads; a page sums the slots. What is counted elsewhere (the store's usage,
 * the fills' numbers) is pulled by collectors while a page is made. Thread: any, unless said otherwise. */
#ifndef ENTREPOT_METRICS_METRICS_H
#define ENTREPOT_METRICS_METRICS_H

#include "common/core/buf.h"

enum metric {
#define METRIC(id, type, name, help) METRIC_##id,
#include "common/metrics/metric_list.h"
    METRIC_COUNT
};
enum metric_family {
#define METRIC_FAMILY(id, type, name, a, b, help) FAMILY_##id,
#include "common/metrics/metric_list.h"
    FAMILY_COUNT
};
enum metric_histogram {
#define METRIC_HISTOGRAM(id, name, help) HISTOGRAM_##id,
#include "common/metrics/metric_list.h"
    HISTOGRAM_COUNT
};

/* What a request was for: the label `endpoint`. */
#define METRIC_ENDPOINTS(X)   \
    X(BASE, "base")           \
    X(BLOB, "blob")           \
    X(MANIFEST, "manifest")   \
    X(TAGS, "tags")           \
    X(REFERRERS, "referrers") \
    X(CATALOG, "catalog")     \
    X(UPLOAD, "upload")       \
    X(OTHER, "other")
enum metric_endpoint {
#define X(id, word) ENDPOINT_##id,
    METRIC_ENDPOINTS(X)
#undef X
        ENDPOINT_COUNT
};

/* Values a label may take in one family; whatever comes later is counted under "other". */
#define METRIC_LABELS_MAX 64

void metric_add(enum metric m, int64_t n);
/* Finds the label by comparing words: for paths that are hot, keep what metric_label returns. */
void metric_label_add(enum metric_family f, const char *label, int64_t n);
void metric_label2_add(enum metric_family f, const char *a, const char *b, int64_t n);
/* The number of a label's value (made if new; b NULL for families with one label). */
unsigned metric_label(enum metric_family f, const char *a, const char *b);
void metric_label_add_at(enum metric_family f, unsigned label, int64_t n);
/* Counts one finished request: entrepot_http_requests_total and both histograms. No allocation. */
void metric_http(const char *target, int status, int64_t first_byte_us, int64_t duration_us);
/* What the target of a request asks for. Pure. */
enum metric_endpoint metric_endpoint_of(const char *target);

/* A page being made: collectors say what they know; a gauge nobody sets is left out, and a counter adds what was
 * counted here. */
struct metric_page;
void metric_set(struct metric_page *p, enum metric m, double value);
void metric_label_set(struct metric_page *p, enum metric_family f, const char *a, const char *b, double value);
/* fn is called for each page, on the thread that makes it, until metrics_uncollect. */
void metrics_collect(void (*fn)(struct metric_page *p, void *arg), void *arg);
void metrics_uncollect(void (*fn)(struct metric_page *p, void *arg), void *arg);
/* Appends the page (text format 0.0.4). May block shortly on /proc: work pool or a thread that may wait. */
int metrics_render(struct buf *out) must_check;
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* What was counted here so far, all threads together (tests and status). */
int64_t metric_total(enum metric m);

#endif
