/* Takes reports from edges, and shows them to operators. Thread: as node_part.h says of each function. */
#include "central/reports/reports_part.h"

#include "central/config/central_config.h"
#include "central/fleet/door.h"
#include "central/fleet/members_part.h"
#include "central/names/names_part.h"
#include "central/reports/book.h"
#include "central/reports/rows.h"
#include "central/reports/where.h"
#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/http/http_status.h"
#include "common/wire/wire.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* After how many periods without a report an edge counts as not heard. */
#define MISSED_MAX 3
#define MISSED_MAX_FULL 15 /* on a full or long link */
/* Names of tags that the list of pulls has at most. */
#define PULLS_SHOWN_MAX 10000
#define PULLS_IN_STATUS 5

struct reports {
    struct node *node;
    struct roster *roster;
    struct report_rows *rows;
    struct holdings *holdings;
    struct report_book *book;
    struct where where;
    int64_t heartbeat_ms;
    _Atomic int64_t refused;
    void (*heard)(const struct report_row *row, void *arg); /* NULL: nobody is told */
    void *heard_arg;
};

/* --- taking a report, on a serving loop --- */

static void refuse(struct reports *p, struct http_req *req, int status, const char *why) {
    atomic_fetch_add_explicit(&p->refused, 1, memory_order_relaxed);
    http_reply_text(req, status, why);
}

/* A report whose answer waits for the book. It outlives the request if the connection is cut meanwhile. */
struct asked {
    struct reports *all;
    struct http_req *req; /* NULL once closed */
    bool waits;           /* for the book */
    struct book_entry entry;
};

static void answer(const struct reports *p, struct http_req *req, struct wire_report_response *rs) {
    uint8_t *data;
    size_t len;
    rs->heartbeat_ms = p->heartbeat_ms;
    if (wire_report_response_encode(rs, &data, &len) < 0) abort(); /* it has some numbers */
    http_reply(req, 200, WIRE_CONTENT_TYPE, data, len);
    free(data);
}

static void on_close(struct http_req *req, bool cut) {
    (void)cut;
    struct asked *a = http_req_user(req);
    a->req = NULL;
    if (!a->waits) free(a);
}

static void on_taken(struct book_entry *e) {
    struct asked *a = e->arg;
    a->waits = false;
    if (!a->req)
        free(a);
    else if (e->code < 0)
        refuse(a->all, a->req, 503, "the report could not be written");
    else
        answer(a->all, a->req, &e->answer);
}

/* Heartbeats alone are answered without an allocation of our own. */
static bool answered_now(const struct reports *p, struct http_req *req, const struct member *who,
                         struct wire_report *m) {
    struct wire_report_response rs = {0};
    if (p->book && !report_book_answer(p->book, who->name, m, &rs)) return false;
    answer(p, req, &rs);
    wire_report_fini(m);
    return true;
}

static void enter(struct reports *p, struct http_req *req, const struct member *who, struct wire_report *m) {
    if (answered_now(p, req, who, m)) return;
    struct asked *a = xcalloc(1, sizeof(*a));
    *a = (struct asked){.all = p, .req = req, .entry = {.report = *m, .loop = http_req_loop(req), .done = on_taken}};
    a->entry.arg = a;
    snprintf(a->entry.edge, sizeof(a->entry.edge), "%s", who->name);
    snprintf(a->entry.site, sizeof(a->entry.site), "%s", who->site);
    http_req_set_user(req, a);
    http_req_on_close(req, on_close);
    a->waits = !report_book_take(p->book, &a->entry);
    if (!a->waits) answer(p, req, &a->entry.answer);
}

static void on_body(struct http_req *req, const char *body, size_t len) {
    struct reports *p = http_req_user(req);
    struct wire_report m;
    struct report_row row;
    struct member who;
    int r = wire_report_decode(&m, body, len);
    if (r < 0 || !m.has_heartbeat) {
        refuse(p, req, r < 0 ? http_error_status(r) : 400, "the body is not the message that this call takes");
    } else if (!door_edge(req, &who) || report_rows_take(p->rows, &who, &m.heartbeat, &row) < 0) {
        refuse(p, req, 503, "this edge reports too often");
    } else {
        if (p->heard) p->heard(&row, p->heard_arg);
        enter(p, req, &who, &m); /* takes m */
        return;
    }
    wire_report_fini(&m);
}

static void post_report(struct http_req *req, void *arg) {
    struct member who;
    if (!door_edge(req, &who)) {
        refuse(arg, req, 403, "this call needs the certificate of an edge");
        return;
    }
    http_req_set_user(req, arg);
    http_req_collect_body(req, WIRE_MAX_REPORT, on_body);
}

static void get_where(struct http_req *req, void *arg) {
    where_handle(&((struct reports *)arg)->where, req);
}

/* What `status` and `ls` show of pulls. */
static void run_pulls(struct job *j) {
    const struct reports *p = j->arg;
    struct error err = {0};
    json_t *doc = NULL;
    if (p->book && report_book_pulls_json(p->book, j->a, PULLS_SHOWN_MAX, &doc) == 0) {
        job_json(j, 200, doc);
        return;
    }
    error_set(&err, ERR_INTERNAL, "what was pulled cannot be read");
    job_error(j, &err);
}

static void get_pulls(struct http_req *req, void *arg) {
    struct reports *p = arg;
    char repo[QUERY_PARAM_MAX];
    int has = query_param(http_req_target(req), "repo", repo);
    if (has < 0)
        api_reply_error(req, 400, "the parameter repo is malformed", "");
    else
        job_start(
            &(struct job_order){.pool = p->node->pool, .run = run_pulls, .arg = p, .a = has && repo[0] ? repo : NULL},
            req);
}

static void status(json_t *into, void *self) {
    const struct reports *p = self;
    json_t *doc = NULL;
    if (p->book && report_book_pulls_json(p->book, NULL, PULLS_IN_STATUS, &doc) == 0)
        json_object_set_new(into, "pull_counts", doc);
}

static const struct route routes[] = {{WIRE_REPORT_PATH, METHODS_POST, PORT_NODE, post_report},
                                      {"/api/where", METHODS_READ, PORT_ADMIN | PORT_CONTROL, get_where},
                                      {"/api/pulls", METHODS_READ, PORT_ADMIN | PORT_CONTROL, get_pulls},
                                      {0}};

/* --- for people --- */

static bool is_heard(const struct reports *p, const struct report_row *row) {
    int64_t missed = row->beat.uplink_full ? MISSED_MAX_FULL : MISSED_MAX;
    return clock_mono_ms() - row->heard_ms < missed * p->heartbeat_ms;
}

static double hit_ratio(const struct wire_heartbeat *b) {
    return (double)b->hits / (double)(b->hits + b->misses);
}

/* "10.1.0.5:5000" of each address. */
static json_t *registry_json(const struct wire_heartbeat *b) {
    json_t *list = json_array();
    for (size_t i = 0; i < b->n_addresses; i++) {
        char ip[IP_TEXT_MAX], text[IP_TEXT_MAX + 10];
        bool four = ip_is_v4(&b->addresses[i]);
        snprintf(text, sizeof(text), four ? "%s:%u" : "[%s]:%u", ip_text(&b->addresses[i], ip), b->registry_port);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *row_json(const struct reports *p, const struct report_row *row) {
    const struct wire_heartbeat *b = &row->beat;
    int64_t age = clock_mono_ms() - row->heard_ms, saved = b->sent_bytes - b->fetched_bytes;
    json_t *j = json_pack("{s:b, s:I, s:I, s:o}", "heard", is_heard(p, row), "age_ms", (json_int_t)age, "load",
                          (json_int_t)b->load, "registry", registry_json(b));
    json_object_set_new(j, "uplink_full", json_boolean(b->uplink_full));
    json_object_set_new(j, "disk",
                        json_pack("{s:I, s:I, s:I, s:I}", "held", (json_int_t)b->disk_held, "limit",
                                  (json_int_t)b->disk_limit, "free", (json_int_t)b->disk_free, "blobs",
                                  (json_int_t)b->blobs));
    json_t *lag = b->replica_heard_ms < 0 ? json_null() : json_integer(b->replica_heard_ms);
    json_object_set_new(j, "replica",
                        json_pack("{s:b, s:I, s:o}", "equal", b->replica_equal, "number", (json_int_t)b->replica_number,
                                  "lag_ms", lag));
    json_object_set_new(j, "hits", json_integer(b->hits));
    json_object_set_new(j, "misses", json_integer(b->misses));
    json_object_set_new(j, "hit_ratio", b->hits + b->misses > 0 ? json_real(hit_ratio(b)) : json_null());
    json_object_set_new(j, "sent_bytes", json_integer(b->sent_bytes));
    json_object_set_new(j, "fetched_bytes", json_integer(b->fetched_bytes));
    json_object_set_new(j, "saved_bytes", json_integer(saved > 0 ? saved : 0));
    return j;
}

/* Work pool: what is added to an edge wherever it is shown. */
static void on_edge(const char *name, json_t *edge, void *arg) {
    const struct reports *p = arg;
    struct report_row row;
    bool heard = report_rows_get(p->rows, name, &row);
    json_object_set_new(edge, "report", heard ? row_json(p, &row) : json_null());
    bool known = holdings_state(p->holdings) == 0;
    const struct holder *e = holdings_find(p->holdings, name);
    json_object_set_new(edge, "holdings", known ? json_integer(e ? holdings_count(p->holdings, e) : 0) : json_null());
}

/* --- metrics --- */

static void row_metrics(struct metric_page *page, const struct report_row *row) {
    const struct wire_heartbeat *b = &row->beat;
    int64_t age_ms = clock_mono_ms() - row->heard_ms;
    metric_row(page, ROWS_EDGE_HEARD, row->name, row->site, (double)age_ms / 1000);
    metric_row(page, ROWS_EDGE_LOAD, row->name, row->site, b->load);
    metric_row(page, ROWS_EDGE_DISK_HELD, row->name, row->site, (double)b->disk_held);
    metric_row(page, ROWS_EDGE_DISK_LIMIT, row->name, row->site, (double)b->disk_limit);
    if (b->replica_heard_ms >= 0)
        metric_row(page, ROWS_EDGE_REPLICA_LAG, row->name, row->site, (double)(b->replica_heard_ms + age_ms) / 1000);
}

/* Edges that were removed have no rows. */
static void metrics(struct metric_page *page, void *self) {
    struct reports *p = self;
    struct edge_facts *list;
    size_t n = roster_list(p->roster, &list), heard = 0;
    bool known = holdings_state(p->holdings) == 0;
    for (size_t i = 0; i < n; i++) {
        struct report_row row;
        if (list[i].state == EDGE_REMOVED || !report_rows_get(p->rows, list[i].name, &row)) continue;
        row_metrics(page, &row);
        const struct holder *e = holdings_find(p->holdings, row.name);
        double blobs = e ? (double)holdings_count(p->holdings, e) : 0;
        if (known) metric_row(page, ROWS_EDGE_HOLDINGS, row.name, row.site, blobs);
        heard += list[i].state == EDGE_ACTIVE && is_heard(p, &row);
    }
    free(list);
    metric_set(page, METRIC_EDGES_HEARD, (double)heard);
    struct holdings_stats h;
    holdings_stats(p->holdings, &h);
    if (p->book) metric_set(page, METRIC_PULLS, (double)report_book_pulls(p->book));
    metric_set(page, METRIC_HOLDINGS_BLOBS, (double)h.blobs);
    metric_set(page, METRIC_HOLDINGS_BYTES, (double)h.bytes);
    metric_set(page, METRIC_REPORTS_REFUSED, (double)atomic_load(&p->refused));
}

/* --- life --- */

static bool is_gone(const char *edge, void *arg) {
    struct edge_facts f;
    return !roster_get(((struct reports *)arg)->roster, edge, &f) || f.state == EDGE_REMOVED;
}

static void stop(void *self) {
    struct reports *p = self;
    members_on_edge_shown(p->node, NULL, NULL);
    report_book_close(p->book);
    node_settle(p->node); /* what the book took last is told */
    holdings_free(p->holdings);
    report_rows_free(p->rows);
    free(p);
}

static int start(struct node *n, void **self, struct error *err) {
    struct reports *p = xcalloc(1, sizeof(*p));
    p->node = n;
    p->roster = members_roster(n);
    p->rows = report_rows_new();
    p->heartbeat_ms = central_config_of(n)->heartbeat_ms;
    p->holdings = holdings_new(central_config_of(n)->holdings_blobs);
    p->where = (struct where){n, p->holdings, p->roster};
    members_on_edge_shown(n, on_edge, p);
    _cleanup_(freep) char *path = xasprintf("%s/reports.db", n->config->data);
    /* Central serves all the same: edges go on telling what was not taken. */
    if (report_book_open(&p->book, path, p->holdings, central_config_of(n)->pull_names, is_gone, p, err) < 0)
        log_error("reports_not_kept", KV_S("why", err->msg),
                  KV_S("then", "what edges hold, and pulls, are not known until the next start"));
    *self = p;
    return 0;
}

const struct node_part part_reports = {
    .name = "reports", .start = start, .stop = stop, .routes = routes, .status = status, .metrics = metrics};

void reports_on_heard(const struct node *n, void (*fn)(const struct report_row *row, void *arg), void *arg) {
    struct reports *p = node_part(n, &part_reports);
    p->heard = fn;
    p->heard_arg = arg;
}
