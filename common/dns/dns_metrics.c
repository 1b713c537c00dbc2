/* Reads them from the document that `status` shows, so that both say the same. Thread: any. */
#include "common/dns/dns_metrics.h"

static void site_metrics(struct metric_page *page, const json_t *sites) {
    const json_t *s;
    size_t i;
    json_array_foreach(sites, i, s) {
        const char *name = json_string_value(json_object_get(s, "name"));
        double near = (double)json_integer_value(json_object_get(s, "neighbour")),
               central = (double)json_integer_value(json_object_get(s, "central"));
        metric_label_set(page, FAMILY_DNS_EDGES, name, NULL, (double)json_integer_value(json_object_get(s, "edges")));
        metric_label_set(page, FAMILY_DNS_NAMED, name, NULL, (double)json_integer_value(json_object_get(s, "named")));
        metric_label_set(page, FAMILY_DNS_SITE_QUERIES, name, NULL,
                         (double)json_integer_value(json_object_get(s, "queries")));
        metric_label_set(page, FAMILY_DNS_SPILLED, name, NULL, near + central);
    }
}

void dns_metrics(struct metric_page *page, const json_t *doc) {
    const json_t *n;
    const char *word;
    json_object_foreach((json_t *)(uintptr_t)json_object_get(doc, "counts"), word, n) {
        metric_label_set(page, FAMILY_DNS_MESSAGES, word, NULL, (double)json_integer_value(n));
    }
    site_metrics(page, json_object_get(doc, "sites"));
    metric_set(page, METRIC_DNS_CONNECTIONS, (double)json_integer_value(json_object_get(doc, "connections")));
    metric_set(page, METRIC_DNS_KEPT, json_is_true(json_object_get(doc, "kept")));
}
