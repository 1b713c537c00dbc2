/* The DNS's part of `status`. Thread: main. */
#include "common/cli/status_dns.h"

#include "common/core/json.h"

#include <stdio.h>

enum { SITES_SHOWN = 20 };

static void row_of_site(struct table *t, const json_t *s) {
    long long near = json_int(s, "neighbour", 0), central = json_int(s, "central", 0);
    table_cell(t, "");
    table_cellf(t,
                "  %s: %lld of %lld edges are named; %lld queries, %lld of them sent to a neighbour, %lld to central",
                json_text(s, "name", "?"), (long long)json_int(s, "named", 0), (long long)json_int(s, "edges", 0),
                (long long)json_int(s, "queries", 0), near, central);
}

static void rows_of_askers(struct table *t, const json_t *list) {
    const json_t *a;
    size_t i;
    json_array_foreach(list, i, a) {
        if (i == 3) break;
        table_cell(t, "");
        table_cellf(t, "  %s tells no client subnet: %lld queries", json_text(a, "address", "?"),
                    (long long)json_int(a, "queries", 0));
    }
}

/* On an edge: by whose word it answers. False: by none. */
static bool row_of_source(struct table *t, const json_t *source) {
    const char *problem = json_text(source, "problem", "");
    char ago[80] = "";
    if (!source) return true;
    if (json_is_integer(json_object_get(source, "heard_s_ago")))
        snprintf(ago, sizeof(ago), ", which was heard %lld s ago", (long long)json_int(source, "heard_s_ago", 0));
    table_cell(t, "");
    if (*problem)
        table_cellf(t, "  queries are answered SERVFAIL: %s", problem);
    else if (json_is_true(json_object_get(source, "live")))
        table_cell(t, "  as central says");
    else
        table_cellf(t, "  by the last word of central%s; this site's edges are asked from here", ago);
    return !*problem;
}

void rows_dns(struct table *t, const json_t *dns) {
    const json_t *counts = json_object_get(dns, "counts"), *sites = json_object_get(dns, "sites"), *s;
    size_t i;
    if (!dns) return;
    table_cell(t, "dns");
    table_cellf(
        t, "%s (listens on %s): %lld queries by UDP, %lld by TCP; %lld answered by site, %lld of these with a subnet",
        json_text(dns, "name", "no zone"), json_text(dns, "listen", "?"), (long long)json_int(counts, "udp", 0),
        (long long)json_int(counts, "tcp", 0), (long long)json_int(counts, "chosen", 0),
        (long long)json_int(counts, "subnets", 0));
    if (!row_of_source(t, json_object_get(dns, "source"))) return;
    if (json_is_true(json_object_get(dns, "kept"))) {
        table_cell(t, "");
        table_cell(t, "  most sites fell silent at once: the last answers are kept, for 5 minutes at most");
    }
    json_array_foreach(sites, i, s) {
        if (i < SITES_SHOWN) row_of_site(t, s);
    }
    if (json_array_size(sites) > SITES_SHOWN) {
        table_cell(t, "");
        table_cellf(t, "  and %zu sites more: status --json", json_array_size(sites) - SITES_SHOWN);
    }
    rows_of_askers(t, json_object_get(dns, "without_subnet"));
}
