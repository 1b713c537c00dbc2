/* Gathers what a report says, and shows how reporting goes. Thread: as node_part.h says of each function. */
#include "edge/reports/reporter_part.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/host_port.h"
#include "common/core/log.h"
#include "common/core/offload.h"
#include "common/store/report.h"
#include "edge/config/edge_config.h"
#include "edge/link/link_part.h"
#include "edge/pull/pull_part.h"
#include "edge/replica/replica_part.h"
#include "edge/reports/cpu_load.h"
#include "edge/reports/held_set.h"
#include "edge/reports/pull_queue.h"
#include "edge/reports/sender.h"

#include <string.h>

#define SLOW_MS 500

struct reports {
    struct node *node;
    struct report_sender *sender;
    struct held_set *held;
    struct pull_queue *pulls;      /* NULL: its file cannot be used */
    bool told_pulls;               /* fetch loop: they are in the last report */
    struct wire_holdings holdings; /* fetch loop: in the report that is being made */
    struct offload look;           /* compares all that is held */
    bool looking;                  /* fetch loop */
    struct load_meter load;        /* fetch loop */
    struct ip address;             /* that is configured */
    bool has_address;
    unsigned registry_port;
};

/* --- what is said, on the fetch loop --- */

static void fill_addresses(const struct reports *p, struct wire_heartbeat *h, const char *local) {
    h->registry_port = p->registry_port;
    if (p->has_address)
        h->addresses[h->n_addresses++] = p->address;
    else if (ip_parse(&h->addresses[0], local, strlen(local)))
        h->n_addresses = 1;
}

static void fill_store(const struct node *n, struct wire_heartbeat *h) {
    struct store_usage u;
    store_usage(n->store, &u);
    h->disk_held = u.used_on_disk;
    h->disk_limit = u.limit;
    h->disk_free = u.disk_free;
    h->blobs = u.blobs;
}

static void fill_replica(const struct node *n, struct wire_heartbeat *h) {
    struct follow_stats s;
    follow_stats(follow_of(n), &s);
    h->replica_equal = s.live && s.state == FOLLOW_EQUAL;
    h->replica_number = s.place.number;
    h->replica_heard_ms = s.heard_ms ? clock_mono_ms() - s.heard_ms : -1;
}

/* A report whose answer was long in coming has waited behind other bytes, whosever they are, or the road is long. */
static void fill_work(struct reports *p, struct wire_heartbeat *h, int64_t took_ms) {
    struct registry_stats served;
    registry_stats(p->node->registry, &served);
    h->load = load_measure(&p->load, load_cpu_us(), clock_mono_us(), load_cpus());
    h->uplink_full = took_ms >= SLOW_MS;
    h->hits = served.hits;
    h->misses = served.misses;
    h->sent_bytes = served.hit_bytes + served.fill_bytes;
    h->fetched_bytes = atomic_load_explicit(&p->node->fetched_bytes, memory_order_relaxed);
}

/* --- what is held --- */

static bool holds(const struct digest *d, void *arg) {
    struct blob_info info;
    return store_lookup(((struct node *)arg)->store, d, &info);
}

/* Index writer. */
static void on_held(const struct digest *d, bool held, void *arg) {
    (void)held;
    held_set_touch(((struct reports *)arg)->held, d);
}

static void see(const struct digest *d, void *arg) {
    held_set_see(arg, d);
}

static void each_held(struct held_set *s, void *arg) {
    store_each(((struct reports *)arg)->node->store, see, s);
}

static void look(struct offload *o) {
    struct reports *p = container_of(o, struct reports, look);
    held_set_look(p->held, each_held, p);
}

static void looked(struct offload *o) {
    container_of(o, struct reports, look)->looking = false;
}

static void begin_look(struct reports *p) {
    if (p->looking) return;
    p->looking = true;
    offload_start(&p->look, p->node->pool, p->node->fetch);
}

static bool answered(const struct wire_report_response *rs, void *arg) {
    struct reports *p = arg;
    if (held_set_wants_look(p->held)) begin_look(p);
    if (rs && p->told_pulls) pull_queue_answered(p->pulls, rs->pulls_taken, clock_mono_ms());
    return held_set_answered(p->held, rs);
}

/* --- a report --- */

static bool fill(struct wire_report *m, const char *local, int64_t took_ms, void *arg) {
    struct reports *p = arg;
    if (!uplink_identity(uplink_of(p->node))) return false; /* it has not joined */
    m->has_heartbeat = true;
    fill_addresses(p, &m->heartbeat, local);
    fill_store(p->node, &m->heartbeat);
    fill_replica(p->node, &m->heartbeat);
    fill_work(p, &m->heartbeat, took_ms);
    if (held_set_tell(p->held, &p->holdings)) m->holdings = &p->holdings;
    bool has_room = p->holdings.n_whole == 0;
    m->pulls = p->pulls && has_room ? pull_queue_tell(p->pulls, clock_mono_ms()) : NULL;
    p->told_pulls = m->pulls != NULL;
    return true;
}

/* --- for people --- */

static void status(json_t *into, void *self) {
    struct report_sender_stats s;
    report_sender_stats(((struct reports *)self)->sender, &s);
    json_t *age = s.taken_ms ? json_integer((clock_mono_ms() - s.taken_ms) / 1000) : json_null();
    json_object_set_new(into, "reports",
                        json_pack("{s:I, s:I, s:o, s:s}", "sent", (json_int_t)s.sent, "failed", (json_int_t)s.failed,
                                  "taken_s_ago", age, "problem", s.problem));
    struct reports *p = self;
    struct held_set_stats h;
    struct pull_queue_stats q = {0};
    held_set_stats(p->held, &h);
    if (p->pulls) pull_queue_stats(p->pulls, &q);
    json_object_set_new(into, "pull_counts",
                        json_pack("{s:I, s:I, s:I, s:I}", "counted", (json_int_t)q.counted, "unwritten",
                                  (json_int_t)q.unwritten, "queued", (json_int_t)q.queued, "delivered",
                                  (json_int_t)q.delivered));
    json_object_set_new(into, "holdings",
                        json_pack("{s:I, s:I, s:I, s:b}", "held", (json_int_t)h.held, "waiting", (json_int_t)h.waiting,
                                  "repairs", (json_int_t)h.repairs, "known", h.known));
}

static void metrics(struct metric_page *page, void *self) {
    struct report_sender_stats s;
    report_sender_stats(((struct reports *)self)->sender, &s);
    metric_set(page, METRIC_REPORTS_SENT, (double)s.sent);
    metric_set(page, METRIC_REPORTS_FAILED, (double)s.failed);
    struct reports *p = self;
    struct held_set_stats h;
    struct pull_queue_stats q = {0};
    if (p->pulls) pull_queue_stats(p->pulls, &q);
    metric_set(page, METRIC_PULLS, (double)q.counted);
    metric_set(page, METRIC_PULLS_QUEUED, (double)q.queued);
    held_set_stats(p->held, &h);
    metric_set(page, METRIC_HOLDINGS_WAITING, (double)h.waiting);
    metric_set(page, METRIC_HOLDINGS_REPAIRS, (double)h.repairs);
}

/* --- life --- */

static void find_address(struct reports *p, const struct node_config *c) {
    struct host_port listen, own;
    if (host_port_parse(&listen, c->registry_listen) && listen.port > 0) p->registry_port = (unsigned)listen.port;
    if (!c->address || !host_port_parse(&own, c->address)) return;
    p->has_address = ip_parse(&p->address, own.host, strlen(own.host));
    if (p->has_address && own.port > 0) p->registry_port = (unsigned)own.port;
}

static void on_asked(const struct repo_name *repo, const char *tag, void *arg) {
    pull_queue_count(((struct reports *)arg)->pulls, repo, tag);
}

/* Without its file pulls are not counted, but all else goes on. */
static void open_pulls(struct reports *p, struct error *err) {
    const struct edge_config *cfg = (const struct edge_config *)(const void *)p->node->config;
    _cleanup_(freep) char *path = xasprintf("%s/reports.db", p->node->config->data);
    if (pull_queue_open(&p->pulls, path, p->node->fetch, cfg->pull_names, err) < 0)
        log_error("pulls_not_counted", KV_S("path", path), KV_S("why", err->msg));
    else
        pull_on_asked(p->node, on_asked, p);
}

static int start(struct node *n, void **self, struct error *err) {
    struct reports *p = xcalloc(1, sizeof(*p));
    p->node = n;
    find_address(p, n->config);
    p->sender = report_sender_new(&(struct report_sender_config){
        .uplink = uplink_of(n), .loop = n->fetch, .client = n->client, .fill = fill, .answered = answered, .arg = p});
    p->held = held_set_new(holds, n);
    p->look = (struct offload){.run = look, .back = looked};
    const struct content_listener l = {.held = on_held, .arg = p};
    content_listen(n->content, &l);
    open_pulls(p, err);
    *self = p;
    return 0;
}

static void running(void *self) {
    struct reports *p = self;
    begin_look(p);
    report_sender_begin(p->sender);
}

static void stop(void *self) {
    struct reports *p = self;
    content_leave(p->node->content, p);
    pull_on_asked(p->node, NULL, NULL);
    pull_queue_close(p->pulls);
    report_sender_free(p->sender);
    held_set_free(p->held);
    free(p);
}

const struct node_part part_reporter = {
    .name = "reporter", .start = start, .running = running, .stop = stop, .status = status, .metrics = metrics};
