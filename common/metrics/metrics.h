/* Counters, gauges and histograms in Prometheus' text format. Counting is a plain add in a slot that belongs to the
 * calling thread, so no two threads write the same cache line; a page shows the sums. Values that other modules keep
 * (the store's usage, the fills' numbers) are collected while a page is made. Thread: any, unless a function says
 * otherwise. */
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
enum metric_rows {
#define METRIC_ROWS(id, type, name, a, b, help) ROWS_##id,
#include "common/metrics/metric_list.h"
    ROWS_COUNT
};
enum metric_histogram {
#define METRIC_HISTOGRAM(id, name, help) HISTOGRAM_##id,
#include "common/metrics/metric_list.h"
    HISTOGRAM_COUNT
};

/* The kind of a request, for the label `endpoint`. */
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

/* How many values a label may have in one family; further values are counted as "other". */
#define METRIC_LABELS_MAX 64

/* How many rows a page shows of each METRIC_ROWS; the others are left out. */
#define METRIC_ROWS_MAX 4096

/* Counts in a family with one label. Finds the label by comparing strings; a new one is added. */
void metric_label_add(enum metric_family f, const char *label, int64_t n);
/* Counts one finished request: entrepot_http_requests_total and both histograms. No allocation. */
void metric_http(const char *target, int status, int64_t first_byte_us, int64_t duration_us);
/* The kind of request of a target. Pure. */
enum metric_endpoint metric_endpoint_of(const char *target);

/* A page that is being made. Collectors set values on it. A gauge that nobody sets is left out, and a counter that
 * nobody sets is 0. What is set in a family of counters is added to what was counted by metric_label_add. */
struct metric_page;
void metric_set(struct metric_page *p, enum metric m, double value);
/* b: NULL for families with one label. */
void metric_label_set(struct metric_page *p, enum metric_family f, const char *a, const char *b, double value);
/* Adds a row to the page. The same labels must not come twice. */
void metric_row(struct metric_page *p, enum metric_rows rows, const char *a, const char *b, double value);
/* Calls fn for each page, on the thread that makes it, until metrics_uncollect. */
void metrics_collect(void (*fn)(struct metric_page *p, void *arg), void *arg);
void metrics_uncollect(void (*fn)(struct metric_page *p, void *arg), void *arg);
/* Appends the page (text format 0.0.4). Reads /proc, so call it only on a thread that may block. Negative: out is
 * full. */
int metrics_render(struct buf *out) must_check;
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
