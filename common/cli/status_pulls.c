/* At central the tags that were pulled most, at an edge what central has still to count. Thread: main. */
#include "common/cli/status_pulls.h"

#include "common/core/json.h"

void row_pull_counts(struct table *t, const json_t *counts) {
    char n[SIZE_TEXT_MAX];
    size_t i;
    const json_t *p, *most = json_object_get(counts, "most");
    if (!counts) return;
    table_cell(t, "pulls by tag");
    if (!most) {
        table_cellf(t, "%s since start, %lld of all wait for central",
                    count_text(json_int(counts, "counted", 0), "pull", n), (long long)json_int(counts, "queued", 0));
        return;
    }
    table_cellf(t, "%s at the edges%s", count_text(json_int(counts, "total", 0), "pull", n),
                json_array_size(most) ? ", most of" : "");
    json_array_foreach(most, i, p) {
        table_cell(t, "");
        table_cellf(t, "  %s:%s (%lld)", json_text(p, "repository", "?"), json_text(p, "tag", "?"),
                    (long long)json_int(p, "pulls", 0));
    }
}
