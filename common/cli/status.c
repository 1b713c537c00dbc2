/* `status`: what the running daemon is doing. Thread: main. */
#include "common/cli/command.h"

#include "common/core/clock.h"
#include "common/core/json.h"
#include "common/admin/control_client.h"
#include "common/cli/print.h"
#include "common/cli/status_dns.h"
#include "common/cli/status_pulls.h"

#include <string.h>

static void row(struct table *t, const char *name, const char *value) {
    table_cell(t, name);
    table_cell(t, value);
}

static void row_state(struct table *t, const json_t *doc) {
    if (json_is_true(json_object_get(doc, "ready"))) {
        row(t, "state", "ready");
        return;
    }
    size_t i;
    const json_t *r;
    json_array_foreach(json_object_get(doc, "reasons"), i, r) {
        table_cell(t, i == 0 ? "state" : "");
        table_cellf(t, "not ready: %s: %s", json_text(r, "condition", ""), json_text(r, "reason", ""));
    }
}

static void row_held(struct table *t, const json_t *s) {
    char bytes[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX], text[SIZE_TEXT_MAX];
    char blobs[SIZE_TEXT_MAX], manifests[SIZE_TEXT_MAX], tags[SIZE_TEXT_MAX];
    int64_t cap = json_int(s, "limit", 0);
    table_cell(t, "held");
    table_cellf(t, "%s, %s; %s, %s", count_text(json_int(s, "blobs", 0), "blob", blobs),
                size_text(json_int(s, "bytes", 0), bytes),
                count_text(json_int(s, "manifests", 0), "manifest", manifests),
                count_text(json_int(s, "tags", 0), "tag", tags));
    table_cell(t, "on disk");
    table_cellf(t, "%s of %s%s", size_text(json_int(s, "used_on_disk", 0), bytes), size_text(cap > 0 ? cap : 0, limit),
                cap > 0 ? "" : " (nothing can be kept)");
    row(t, "disk free", size_text(json_int(s, "disk_free", 0), text));
    if (json_int(s, "evictions", 0) == 0) return;
    table_cell(t, "evicted");
    table_cellf(t, "%s, %s since start", count_text(json_int(s, "evictions", 0), "blob", blobs),
                size_text(json_int(s, "evicted_bytes", 0), text));
}

static void row_trouble(struct table *t, const json_t *trouble) {
    table_cell(t, "TROUBLE");
    table_cell(t, json_text(trouble, "message", "?"));
    table_cell(t, "");
    table_cellf(t, "-> %s", json_text(trouble, "what_to_do", "?"));
}

/* Blobs whose bytes were wrong. */
static void row_rot(struct table *t, const json_t *s) {
    char bytes[SIZE_TEXT_MAX], blobs[SIZE_TEXT_MAX];
    long long kept = json_int(s, "quarantined", 0), rotten = json_int(s, "rotten", 0);
    if (kept == 0 && rotten == 0) return;
    table_cell(t, "rot");
    table_cellf(t, "%s had wrong bytes since start; %lld, %s, %s in quarantine: see doctor",
                count_text(rotten, "blob", blobs), kept, size_text(json_int(s, "quarantine_bytes", 0), bytes),
                kept == 1 ? "is" : "are");
}

/* Central's. */
static void row_hosted(struct table *t, const json_t *h) {
    char bytes[SIZE_TEXT_MAX], tags[SIZE_TEXT_MAX], blobs[SIZE_TEXT_MAX];
    int64_t missing = json_int(h, "missing", 0);
    const char *doubt = json_string_value(json_object_get(h, "doubt"));
    if (json_int(h, "blobs", 0) == 0 && !doubt) return;
    table_cell(t, "hosted");
    table_cellf(t, "%s, %s, %s", count_text(json_int(h, "tags", 0), "tag", tags),
                count_text(json_int(h, "blobs", 0), "blob", blobs), size_text(json_int(h, "bytes", 0), bytes));
    if (missing) {
        table_cell(t, "");
        table_cellf(t, "%s, %s, %s missing and to be restored: see doctor", count_text(missing, "blob", blobs),
                    size_text(json_int(h, "missing_bytes", 0), bytes), missing == 1 ? "is" : "are");
    }
    if (doubt) row(t, "", doubt);
}

static void row_pulls(struct table *t, const json_t *p) {
    char disk[SIZE_TEXT_MAX], fill[SIZE_TEXT_MAX];
    const json_t *ratio = json_object_get(p, "hit_ratio");
    table_cell(t, "requests");
    if (json_is_number(ratio)) {
        table_cellf(t, "%lld from the store, %lld not (hit ratio %.1f %%), %lld joined a fill",
                    (long long)json_int(p, "hits", 0), (long long)json_int(p, "misses", 0),
                    json_number_value(ratio) * 100, (long long)json_int(p, "joined", 0));
    } else {
        table_cell(t, "none yet");
    }
    table_cell(t, "sent");
    table_cellf(t, "%s from the store, %s behind fills", size_text(json_int(p, "hit_bytes", 0), disk),
                size_text(json_int(p, "fill_bytes", 0), fill));
}

static void row_fills(struct table *t, const json_t *f) {
    table_cell(t, "fills");
    table_cellf(t, "%lld running; %lld completed, %lld failed, %lld with wrong bytes",
                (long long)json_int(f, "running", 0), (long long)json_int(f, "completed", 0),
                (long long)json_int(f, "failed", 0), (long long)json_int(f, "mismatches", 0));
    int64_t passed = json_int(f, "passed_through", 0);
    if (passed == 0) return;
    table_cell(t, "");
    table_cellf(t, "%lld of them passed through without being kept: there was no room", (long long)passed);
}

/* Budgets that are in use. */
static void rows_memory(struct table *t, const json_t *memory) {
    const char *name;
    json_t *b;
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)memory, name, b) {
        char used[SIZE_TEXT_MAX], peak[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX], times[SIZE_TEXT_MAX];
        int64_t refused = json_int(b, "refused", 0);
        if (json_int(b, "peak", 0) == 0 && refused == 0) continue;
        table_cell(t, first ? "memory" : "");
        first = false;
        table_cellf(t, "%s: %s of %s, at most %s so far", name, size_text(json_int(b, "used", 0), used),
                    size_text(json_int(b, "limit", 0), limit), size_text(json_int(b, "peak", 0), peak));
        if (refused == 0) continue;
        table_cell(t, "");
        table_cellf(t, "  did not suffice %s: see memory.%s", count_text(refused, "time", times), name);
    }
}

/* Central's. */
static void row_catalogue(struct table *t, const json_t *c) {
    char bytes[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX];
    int64_t most = json_int(c, "limit", 0);
    table_cell(t, "catalogue");
    table_cellf(t, "%s%s%s", size_text(json_int(c, "bytes", 0), bytes), most ? " of " : "",
                most ? size_text(most, limit) : "");
}

/* An edge's copy of the catalogue. */
static void row_replica(struct table *t, const json_t *r) {
    char bytes[SIZE_TEXT_MAX];
    int64_t heard = json_int(r, "heard_s_ago", -1);
    table_cell(t, "replica");
    if (heard < 0)
        table_cellf(t, "%s", json_text(r, "state", "?"));
    else
        table_cellf(t, "%s, at %s, heard %lld s ago", json_text(r, "state", "?"), json_text(r, "place", "?"),
                    (long long)heard);
    table_cell(t, "");
    table_cellf(t, "%lld blobs, %lld manifests, %lld tags; %s of memory", (long long)json_int(r, "blobs", 0),
                (long long)json_int(r, "manifests", 0), (long long)json_int(r, "tags", 0),
                size_text(json_int(r, "bytes", 0), bytes));
}

/* An edge's, if it may ask upstreams itself. */
static void row_fallback(struct table *t, const json_t *f) {
    if (strcmp(json_text(f, "rule", "off"), "off") == 0) return;
    long long requests = (long long)json_int(f, "requests", 0), failures = (long long)json_int(f, "failures", 0);
    table_cell(t, "fallback");
    table_cellf(t, "%s; %lld requests to upstreams since the start, %lld failed",
                json_is_true(json_object_get(f, "active")) ? "in use: upstreams are asked directly"
                                                           : "ready, for when central cannot be reached",
                requests, failures);
}

static void rows_sources(struct table *t, const json_t *doc) {
    const json_t *central = json_object_get(doc, "central"), *u;
    if (json_is_object(central)) {
        const char *url = json_text(central, "url", "?"), *why = json_text(central, "message", "");
        table_cell(t, "central");
        if (json_is_true(json_object_get(central, "reachable"))) { /* the last failure is over: see the log */
            table_cellf(t, "%s: reachable%s", url,
                        json_is_true(json_object_get(central, "polls"))
                            ? "; changes come by polls, because something on the way holds answers back"
                            : "");
        } else {
            char age[SIZE_TEXT_MAX];
            int64_t since = clock_wall_s() - json_int(central, "since", 0);
            table_cellf(t, "%s: not reachable for %s%s%s", url, time_text(since > 0 ? since : 0, age), *why ? ": " : "",
                        why);
        }
    }
    row_fallback(t, json_object_get(doc, "fallback"));
    const json_t *list = json_object_get(doc, "upstreams");
    size_t i;
    if (!json_object_get(json_array_get(list, 0), "result")) { /* an edge knows only their names */
        json_array_foreach(list, i, u) {
            row(t, i == 0 ? "upstreams" : "", json_text(u, "name", "?"));
        }
        return;
    }
    json_array_foreach(list, i, u) {
        int64_t left = json_int(u, "rate_remaining", -1), cap = json_int(u, "rate_limit", -1);
        table_cell(t, i == 0 ? "upstreams" : "");
        table_cellf(t, "%s: %s", json_text(u, "name", "?"),
                    json_int(u, "requests", -1) == 0 ? "not asked yet" : json_text(u, "result", "?"));
        int64_t wait = json_int(u, "wait_s", 0);
        if (left >= 0) {
            table_cell(t, "");
            table_cellf(t, cap > 0 ? "  %lld of %lld pulls left in its window" : "  pulls left in its window: %lld",
                        (long long)left, (long long)cap);
        }
        if (wait > 0) {
            char text[SIZE_TEXT_MAX];
            table_cell(t, "");
            table_cellf(t, "  asks to wait %s before the next pull", time_text(wait, text));
        }
    }
}

/* An edge's, if it has begun to report, or cannot. */
static void row_reports(struct table *t, const json_t *r) {
    char age[SIZE_TEXT_MAX];
    const char *problem = json_text(r, "problem", "");
    int64_t taken = json_int(r, "taken_s_ago", -1);
    if (!*problem && taken < 0) return;
    table_cell(t, "reports");
    if (taken < 0)
        table_cellf(t, "none was taken by central: %s", problem);
    else
        table_cellf(t, "taken by central %s ago%s%s", time_text(taken, age), *problem ? "; since then: " : "", problem);
}

/* What central's edges have saved together, as they said last. */
static void row_saved(struct table *t, const json_t *edges) {
    char saved[SIZE_TEXT_MAX];
    int64_t hits = 0, all = 0, bytes = 0;
    const json_t *e;
    size_t i;
    json_array_foreach(edges, i, e) {
        const json_t *r = json_object_get(e, "report");
        if (strcmp(json_text(e, "state", ""), "active") != 0) continue;
        hits += json_int(r, "hits", 0);
        all += json_int(r, "hits", 0) + json_int(r, "misses", 0);
        bytes += json_int(r, "saved_bytes", 0);
    }
    if (all == 0) return;
    table_cell(t, "");
    table_cellf(t, "%.1f %% of their requests were answered from their stores, %s did not cross their uplinks",
                100.0 * (double)hits / (double)all, size_text(bytes, saved));
}

/* The next step for an edge that was just installed. One behind a tunnel of its owner's need not join: it has
 * heard central, and is ready. */
static void row_not_joined(struct table *t, const json_t *doc) {
    const json_t *central = json_object_get(doc, "central");
    if (!central || json_is_object(json_object_get(doc, "identity")) ||
        json_is_true(json_object_get(central, "reachable")) || json_is_true(json_object_get(doc, "ready")))
        return;
    table_cell(t, "identity");
    table_cell(t, "none: on central `entrepot-central edge invite --site NAME`, and here `entrepot-edge join TOKEN`");
}

/* Who this edge is, or how many edges central has, and who of them is refused. */
static void rows_fleet(struct table *t, const json_t *doc) {
    const json_t *id = json_object_get(doc, "identity"), *edges = json_object_get(doc, "edges"), *e;
    const char *rotation = json_text(json_object_get(json_object_get(doc, "fleet"), "rotation"), "state", "steady");
    char until[CLOCK_DATE_MAX];
    size_t i, n = 0, heard = 0;
    if (json_text(id, "name", NULL)) {
        table_cell(t, "identity");
        table_cellf(t, "%s of %s, certificate good until %s", json_text(id, "name", "?"), json_text(id, "site", "?"),
                    clock_date(json_int(id, "certificate_not_after", 0), until));
    }
    row_reports(t, json_object_get(doc, "reports"));
    if (!edges) row_not_joined(t, doc);
    if (!edges) return;
    json_array_foreach(edges, i, e) {
        bool active = strcmp(json_text(e, "state", ""), "active") == 0;
        n += active;
        heard += active && json_is_true(json_object_get(json_object_get(e, "report"), "heard"));
    }
    table_cell(t, "fleet");
    table_cellf(t, "%zu %s, %zu reporting now (`edge list`)%s", n, n == 1 ? "edge" : "edges", heard,
                strcmp(rotation, "steady") == 0 ? "" : "; its root changes (`ca status`)");
    row_saved(t, edges);
    json_array_foreach(edges, i, e) {
        if (strcmp(json_text(e, "state", ""), "quarantined") != 0) continue;
        table_cell(t, "");
        table_cellf(t, "in quarantine: %s: %s", json_text(e, "name", "?"), json_text(e, "reason", "?"));
        table_cell(t, "");
        table_cellf(t, "  stop the copy and `edge allow %s`; or `edge remove %s`; or `edge invite --replace %s`",
                    json_text(e, "name", "?"), json_text(e, "name", "?"), json_text(e, "name", "?"));
    }
}

/* What is wrong with the fleet's certificate of the registry port. */
static void row_registry_certificate(struct table *t, const json_t *cert) {
    const char *problem = json_text(cert, "problem", "");
    const json_t *refused = json_object_get(cert, "refused"), *name;
    size_t i;
    if (*problem) row(t, "", problem);
    json_array_foreach(refused, i, name) {
        table_cell(t, "");
        table_cellf(t, "central does not grant the name %s to this edge", json_string_value(name));
    }
}

static void print_status(const json_t *doc) {
    struct table t;
    char up[SIZE_TEXT_MAX];
    const json_t *a = json_object_get(doc, "addresses");
    table_init(&t, 2, 0);
    table_cell(&t, json_text(doc, "program", "?"));
    table_cellf(&t, "%s, process %lld, up %s", json_text(doc, "version", "?"), (long long)json_int(doc, "pid", 0),
                time_text(json_int(doc, "uptime_s", 0), up));
    row_state(&t, doc);
    table_cell(&t, "registry");
    table_cellf(&t, "%s://%s (listens on %s)", json_is_true(json_object_get(a, "tls")) ? "https" : "http",
                json_text(doc, "client_address", "?"), json_text(a, "registry", "?"));
    int64_t end = json_int(doc, "certificate_not_after", 0);
    char until[CLOCK_DATE_MAX];
    if (end > 0) {
        table_cell(&t, "certificate");
        table_cellf(&t, "%s %s", end > clock_wall_s() ? "good until" : "ended on", clock_date(end, until));
    }
    row_registry_certificate(&t, json_object_get(doc, "registry_certificate"));
    row(&t, "admin", json_text(a, "admin", "?"));
    row(&t, "data", json_text(doc, "data", "?"));
    row(&t, "config", json_text(doc, "config_file", "defaults, no file"));
    const json_t *part;
    if ((part = json_object_get(doc, "store"))) {
        row_held(&t, part);
        row_rot(&t, part);
    }
    if ((part = json_object_get(part, "trouble"))) row_trouble(&t, part);
    if ((part = json_object_get(doc, "hosted"))) row_hosted(&t, part);
    if ((part = json_object_get(doc, "pulls"))) row_pulls(&t, part);
    if ((part = json_object_get(doc, "fills"))) row_fills(&t, part);
    rows_memory(&t, json_object_get(doc, "memory"));
    if ((part = json_object_get(doc, "connections"))) {
        table_cell(&t, "connections");
        table_cellf(&t, "%lld open", (long long)json_int(part, "open", 0));
    }
    rows_fleet(&t, doc);
    row_pull_counts(&t, json_object_get(doc, "pull_counts"));
    rows_sources(&t, doc);
    if ((part = json_object_get(doc, "catalogue"))) row_catalogue(&t, part);
    if ((part = json_object_get(doc, "replica"))) row_replica(&t, part);
    rows_dns(&t, json_object_get(doc, "dns"));
    table_print(&t, stdout);
    table_fini(&t);
}

static int run_status(const struct command_context *ctx) {
    struct error err = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    json_t *doc = NULL;
    if (control_open(&c, ctx->node, &err) < 0 || control_json(c, "GET", "/api/status", &doc, &err) < 0)
        return print_failure(ctx, &err);
    int status = json_object_get(json_object_get(doc, "store"), "trouble") ? EXIT_FAILED : EXIT_DONE;
    if (ctx->json) return print_json(doc) == EXIT_DONE ? status : EXIT_FAILED;
    print_status(doc);
    json_decref(doc);
    return status;
}

static const struct command_example examples[] = {
    {"status", "state, what is held, requests, fills and sources"},
    {"status --json", "the same for programs"},
};

const struct command command_status = {
    .name = "status",
    .usage = "",
    .summary = "what the running daemon holds and does",
    .description = "The exit status is 1 when the store cannot be written: what is pulled is passed through, not kept.",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_BOTH,
    .run = run_status,
};
