/* Each thread has a slot of counters; a metrics page shows the sums of all slots. Only its own thread writes a slot,
 * and any thread may read it for a page, so relaxed atomic loads and stores are enough. When a thread ends, the next
 * new thread gets its slot, numbers included. Thread: any. */
#include "common/metrics/metrics.h"

#include "common/oci/request.h"
#include "common/core/alloc.h"
#include "common/metrics/metrics_process.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum metric_type { COUNTER, GAUGE };
struct metric_def {
    enum metric_type type;
    const char *name, *label_a, *label_b, *help;
};
static const struct metric_def scalars[METRIC_COUNT] = {
#define METRIC(id, t, n, h) [METRIC_##id] = {.type = (t), .name = (n), .help = (h)},
#include "common/metrics/metric_list.h"
};
static const struct metric_def families[FAMILY_COUNT] = {
#define METRIC_FAMILY(id, t, n, a, b, h) \
    [FAMILY_##id] = {.type = (t), .name = (n), .label_a = (a), .label_b = (b), .help = (h)},
#include "common/metrics/metric_list.h"
};
static const struct metric_def rows[ROWS_COUNT] = {
#define METRIC_ROWS(id, t, n, a, b, h) \
    [ROWS_##id] = {.type = (t), .name = (n), .label_a = (a), .label_b = (b), .help = (h)},
#include "common/metrics/metric_list.h"
};
static const struct metric_def histograms[HISTOGRAM_COUNT] = {
#define METRIC_HISTOGRAM(id, n, h) [HISTOGRAM_##id] = {.name = (n), .help = (h)},
#include "common/metrics/metric_list.h"
};
static const char *const endpoints[ENDPOINT_COUNT] = {
#define X(id, word) word,
    METRIC_ENDPOINTS(X)
#undef X
};

/* From a warm hit (some tens of microseconds) to a blob that takes ten minutes over a thin link. */
static const int64_t bucket_us[] = {100,     250,      500,      1000,     2500,      5000,     10000,
                                    25000,   50000,    100000,   250000,   500000,    1000000,  2500000,
                                    5000000, 10000000, 30000000, 60000000, 300000000, 600000000};
static const char *const bucket_words[] = {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
                                           "0.025",  "0.05",    "0.1",    "0.25",  "0.5",    "1",     "2.5",
                                           "5",      "10",      "30",     "60",    "300",    "600"};
enum { BUCKETS = ARRAY_LEN(bucket_us), STATUS_CLASSES = 6 };
_Static_assert(ARRAY_LEN(bucket_us) == ARRAY_LEN(bucket_words), "every bucket has its word");

#define counter _Atomic int64_t
struct histogram_slot {
    counter buckets[BUCKETS + 1]; /* the last one: above all bounds */
    counter sum_us;
};
struct slot {
    counter requests[ENDPOINT_COUNT][STATUS_CLASSES];
    struct histogram_slot histograms[HISTOGRAM_COUNT][ENDPOINT_COUNT];
    counter families[FAMILY_COUNT][METRIC_LABELS_MAX];
    struct slot *next; /* all slots ever made */
    atomic_bool taken;
};
static _Atomic(struct slot *) slots;
static _Thread_local struct slot *mine;
static pthread_key_t on_exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct label {
    char *a, *b;
};
/* Each label is written once, under the lock; then the number of readable labels is published. */
static struct label labels[FAMILY_COUNT][METRIC_LABELS_MAX];
static atomic_uint n_labels[FAMILY_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* labels and collectors */

struct collector {
    void (*fn)(struct metric_page *p, void *arg);
    void *arg;
};
enum { COLLECTORS_MAX = 16 };
static struct collector collectors[COLLECTORS_MAX];
static size_t n_collectors;

static void slot_release(void *s) {
    mine = NULL; /* a destructor that runs later and counts gets another slot */
    atomic_store_explicit(&((struct slot *)s)->taken, false, memory_order_release);
}

static void init_key(void) {
    if (pthread_key_create(&on_exit_key, slot_release) != 0) abort();
}

static struct slot *slot_take(void) {
    pthread_once(&once, init_key);
    struct slot *s = atomic_load_explicit(&slots, memory_order_acquire);
    for (; s; s = s->next) {
        bool no = false;
        if (atomic_compare_exchange_strong_explicit(&s->taken, &no, true, memory_order_acquire, memory_order_relaxed))
            break;
    }
    if (!s) {
        size_t size = (sizeof(*s) + 63) / 64 * 64;
        s = aligned_alloc(64, size);
        if (!s) out_of_memory();
        memset(s, 0, size);
        atomic_store_explicit(&s->taken, true, memory_order_relaxed);
        s->next = atomic_load_explicit(&slots, memory_order_relaxed);
        while (
            !atomic_compare_exchange_weak_explicit(&slots, &s->next, s, memory_order_release, memory_order_relaxed)) {}
    }
    pthread_setspecific(on_exit_key, s);
    mine = s;
    return s;
}

static inline struct slot *slot_get(void) {
    return mine ? mine : slot_take();
}

/* With only one writer no locked instruction is needed. */
static inline void bump(counter *c, int64_t n) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline int64_t peek(const counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static unsigned bucket_of(int64_t us) {
    unsigned i = 0;
    while (i < BUCKETS && us > bucket_us[i])
        i++;
    return i;
}

static void observe_us(struct slot *s, enum metric_histogram h, enum metric_endpoint e, int64_t us) {
    struct histogram_slot *hs = &s->histograms[h][e];
    if (us < 0) us = 0;
    bump(&hs->buckets[bucket_of(us)], 1);
    bump(&hs->sum_us, us);
}

static bool label_is(const struct label *l, const char *a, const char *b) {
    return strcmp(l->a, a) == 0 && strcmp(l->b, b) == 0;
}

static unsigned label_make(enum metric_family f, const char *a, const char *b) {
    pthread_mutex_lock(&lock);
    unsigned n = atomic_load_explicit(&n_labels[f], memory_order_relaxed), i = 0;
    while (i < n && !label_is(&labels[f][i], a, b))
        i++;
    if (i == n && n == METRIC_LABELS_MAX) {
        i = METRIC_LABELS_MAX - 1;
    } else if (i == n) {
        bool last = n == METRIC_LABELS_MAX - 1;
        labels[f][i].a = xstrdup(last ? "other" : a);
        labels[f][i].b = xstrdup(last ? "other" : b);
        atomic_store_explicit(&n_labels[f], n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return i;
}

/* The index of a label value, which is added if it is new. */
static unsigned label_index(enum metric_family f, const char *a, const char *b) {
    if (!b) b = "";
    unsigned n = atomic_load_explicit(&n_labels[f], memory_order_acquire);
    for (unsigned i = 0; i < n; i++) {
        if (label_is(&labels[f][i], a, b)) return i;
    }
    return n == METRIC_LABELS_MAX ? METRIC_LABELS_MAX - 1 : label_make(f, a, b);
}

void metric_label_add(enum metric_family f, const char *label, int64_t n) {
    bump(&slot_get()->families[f][label_index(f, label, NULL)], n);
}

static bool part_is(const char *part, size_t len, const char *word) {
    return strlen(word) == len && memcmp(part, word, len) == 0;
}

/* Reads from the end: .../manifests/REF, .../blobs/DIGEST, .../blobs/uploads/ID, .../tags/list. */
enum metric_endpoint metric_endpoint_of(const char *target) {
    if (!oci_is_api(target)) return ENDPOINT_OTHER;
    size_t len = strcspn(target, "?");
    if (len <= 4) return ENDPOINT_BASE;
    if (part_is(target + 4, len - 4, "_catalog")) return ENDPOINT_CATALOG;
    const char *end = target + len;
    for (int i = 0; i < 3; i++) {
        const char *start = end;
        while (start > target && start[-1] != '/')
            start--;
        size_t n = (size_t)(end - start);
        if (part_is(start, n, "manifests")) return ENDPOINT_MANIFEST;
        if (part_is(start, n, "uploads")) return ENDPOINT_UPLOAD;
        if (part_is(start, n, "blobs")) return ENDPOINT_BLOB;
        if (part_is(start, n, "tags")) return ENDPOINT_TAGS;
        if (part_is(start, n, "referrers")) return ENDPOINT_REFERRERS;
        if (start <= target + 4) break;
        end = start - 1;
    }
    return ENDPOINT_OTHER;
}

void metric_http(const char *target, int status, int64_t first_byte_us, int64_t duration_us) {
    struct slot *s = slot_get();
    enum metric_endpoint e = metric_endpoint_of(target);
    int class = status / 100;
    bump(&s->requests[e][class >= 1 && class < STATUS_CLASSES ? class : 0], 1);
    observe_us(s, HISTOGRAM_FIRST_BYTE, e, first_byte_us);
    observe_us(s, HISTOGRAM_DURATION, e, duration_us);
}

/* --- the page --- */
struct value {
    double v;
    bool set;
};
struct metric_page {
    struct buf *out; /* what is written now: the page, or rows of it */
    int code;
    struct buf rows[ROWS_COUNT];
    unsigned n_rows[ROWS_COUNT];
    struct value scalars[METRIC_COUNT];
    struct value families[FAMILY_COUNT][METRIC_LABELS_MAX];
};

void metric_set(struct metric_page *p, enum metric m, double value) {
    p->scalars[m] = (struct value){.v = value, .set = true};
}

void metric_label_set(struct metric_page *p, enum metric_family f, const char *a, const char *b, double value) {
    p->families[f][label_index(f, a, b)] = (struct value){.v = value, .set = true};
}

void metrics_collect(void (*fn)(struct metric_page *p, void *arg), void *arg) {
    pthread_mutex_lock(&lock);
    assert(n_collectors < COLLECTORS_MAX);
    collectors[n_collectors++] = (struct collector){.fn = fn, .arg = arg};
    pthread_mutex_unlock(&lock);
}

void metrics_uncollect(void (*fn)(struct metric_page *p, void *arg), void *arg) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_collectors; i++) {
        if (collectors[i].fn == fn && collectors[i].arg == arg) collectors[i--] = collectors[--n_collectors];
    }
    pthread_mutex_unlock(&lock);
}

#define PUT(p, ...)                                                        \
    do {                                                                   \
        if ((p)->code == 0) (p)->code = buf_printf((p)->out, __VA_ARGS__); \
    } while (0)

static void put_head(struct metric_page *p, const char *name, const char *help, const char *type) {
    PUT(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Label values may be host names chosen by others, so they are escaped as the text format requires. */
static void put_label(struct metric_page *p, const char *name, const char *value) {
    PUT(p, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\n') {
            PUT(p, "\\n");
        } else if (*value == '"' || *value == '\\') {
            PUT(p, "\\%c", *value);
        } else {
            PUT(p, "%c", *value);
        }
    }
    PUT(p, "\"");
}

static void put_number(struct metric_page *p, double v) {
    if (v >= -9e15 && v <= 9e15 && v == (double)(int64_t)v) {
        PUT(p, " %lld\n", (long long)v);
    } else {
        PUT(p, " %.12g\n", v);
    }
}

/* {a="…",b="…"} VALUE */
static void put_sample(struct metric_page *p, const struct metric_def *d, const char *a, const char *b, double v) {
    PUT(p, "%s{", d->name);
    put_label(p, d->label_a, a);
    if (d->label_b) {
        PUT(p, ",");
        put_label(p, d->label_b, b);
    }
    PUT(p, "}");
    put_number(p, v);
}

void metric_row(struct metric_page *p, enum metric_rows f, const char *a, const char *b, double value) {
    struct buf *page = p->out;
    if (p->n_rows[f]++ >= METRIC_ROWS_MAX) return;
    p->out = &p->rows[f];
    put_sample(p, &rows[f], a, b, value);
    p->out = page;
}

static void render_rows(struct metric_page *p, enum metric_rows f) {
    const struct metric_def *d = &rows[f];
    if (p->rows[f].len == 0) return;
    put_head(p, d->name, d->help, d->type == COUNTER ? "counter" : "gauge");
    if (p->code == 0) p->code = buf_add(p->out, p->rows[f].data, p->rows[f].len);
}

static void render_scalar(struct metric_page *p, enum metric m) {
    const struct metric_def *d = &scalars[m];
    if (d->type == GAUGE && !p->scalars[m].set) return;
    put_head(p, d->name, d->help, d->type == COUNTER ? "counter" : "gauge");
    PUT(p, "%s", d->name);
    put_number(p, p->scalars[m].v);
}

static void render_family(struct metric_page *p, enum metric_family f) {
    const struct metric_def *d = &families[f];
    bool head = false;
    unsigned n = atomic_load_explicit(&n_labels[f], memory_order_acquire);
    for (unsigned i = 0; i < n; i++) {
        int64_t sum = 0;
        for (const struct slot *s = atomic_load_explicit(&slots, memory_order_acquire); s; s = s->next)
            sum += peek(&s->families[f][i]);
        if (d->type == GAUGE && !p->families[f][i].set) continue;
        if (!head) put_head(p, d->name, d->help, d->type == COUNTER ? "counter" : "gauge");
        head = true;
        put_sample(p, d, labels[f][i].a, labels[f][i].b, (double)sum + p->families[f][i].v);
    }
}

static void render_requests(struct metric_page *p) {
    static const char *const classes[STATUS_CLASSES] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    put_head(p, "entrepot_http_requests_total",
             "Requests answered, by what they asked for and the class of the status.", "counter");
    for (unsigned e = 0; e < ENDPOINT_COUNT; e++) {
        for (unsigned c = 0; c < STATUS_CLASSES; c++) {
            int64_t sum = 0;
            for (const struct slot *s = atomic_load_explicit(&slots, memory_order_acquire); s; s = s->next)
                sum += peek(&s->requests[e][c]);
            if (sum == 0) continue;
            PUT(p, "entrepot_http_requests_total{endpoint=\"%s\",code=\"%s\"} %lld\n", endpoints[e], classes[c],
                (long long)sum);
        }
    }
}

static void render_histogram_of(struct metric_page *p, enum metric_histogram h, unsigned e) {
    const char *name = histograms[h].name;
    int64_t buckets[BUCKETS + 1] = {0}, sum_us = 0, count = 0;
    for (const struct slot *s = atomic_load_explicit(&slots, memory_order_acquire); s; s = s->next) {
        for (unsigned i = 0; i <= BUCKETS; i++)
            buckets[i] += peek(&s->histograms[h][e].buckets[i]);
        sum_us += peek(&s->histograms[h][e].sum_us);
    }
    for (unsigned i = 0; i <= BUCKETS; i++) {
        count += buckets[i];
        PUT(p, "%s_bucket{endpoint=\"%s\",le=\"%s\"} %lld\n", name, endpoints[e],
            i < BUCKETS ? bucket_words[i] : "+Inf", (long long)count);
    }
    PUT(p, "%s_sum{endpoint=\"%s\"} %.12g\n", name, endpoints[e], (double)sum_us / 1e6);
    PUT(p, "%s_count{endpoint=\"%s\"} %lld\n", name, endpoints[e], (long long)count);
}

static void render_histogram(struct metric_page *p, enum metric_histogram h) {
    put_head(p, histograms[h].name, histograms[h].help, "histogram");
    for (unsigned e = 0; e < ENDPOINT_COUNT; e++)
        render_histogram_of(p, h, e);
}

static void run_collectors(struct metric_page *p) {
    struct collector now[COLLECTORS_MAX];
    pthread_mutex_lock(&lock);
    size_t n = n_collectors;
    memcpy(now, collectors, sizeof(now));
    pthread_mutex_unlock(&lock);
    metrics_process_collect(p);
    for (size_t i = 0; i < n; i++)
        now[i].fn(p, now[i].arg);
}

int metrics_render(struct buf *out) {
    _cleanup_(freep) struct metric_page *p = xcalloc(1, sizeof(*p));
    p->out = out;
    for (unsigned f = 0; f < ROWS_COUNT; f++)
        buf_init(&p->rows[f], 0);
    run_collectors(p);
    for (unsigned m = 0; m < METRIC_COUNT; m++)
        render_scalar(p, (enum metric)m);
    for (unsigned f = 0; f < FAMILY_COUNT; f++)
        render_family(p, (enum metric_family)f);
    for (unsigned f = 0; f < ROWS_COUNT; f++) {
        render_rows(p, (enum metric_rows)f);
        buf_fini(&p->rows[f]);
    }
    render_requests(p);
    for (unsigned h = 0; h < HISTOGRAM_COUNT; h++)
        render_histogram(p, (enum metric_histogram)h);
    return p->code;
}
