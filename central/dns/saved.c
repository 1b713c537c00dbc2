/* The file has a line "SITE EDGE" for each edge. Thread: as saved.h says. */
#include "central/dns/saved.h"

#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SAVED_MAX ((size_t)(4 << 20))

static int key_of(char out[160], const char *site, const char *edge) {
    return snprintf(out, 160, "%.63s %.63s", site, edge);
}

void dns_saved_write(const struct dns_zone *zone, const struct dns_health *health, struct buf *out) {
    for (size_t i = 0; i < zone->n_edges; i++) {
        char key[160];
        if (!dns_state_named(dns_health_state(health, i))) continue;
        key_of(key, zone->edges[i].site, zone->edges[i].name);
        if (buf_printf(out, "%s\n", key) < 0) return; /* over 64 MiB: no configuration is that large */
    }
}

void dns_saved_read(const char *path, const struct dns_zone *zone, struct dns_health *health, int64_t now_ms) {
    _cleanup_(freep) char *text = NULL;
    size_t len;
    struct error err = {0};
    int r = file_read_all(path, SAVED_MAX, &text, &len, &err);
    if (r < 0) {
        if (r != -ENOENT) log_warn("dns_state_unreadable", KV_S("why", err.msg));
        return;
    }
    struct map *named = map_new(NULL);
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));)
        map_set_s(named, line, zone->edges);
    for (size_t i = 0; i < zone->n_edges; i++) {
        char key[160];
        int n = key_of(key, zone->edges[i].site, zone->edges[i].name);
        if (map_get(named, key, (size_t)n)) dns_health_restore(health, i, now_ms);
    }
    map_free(named);
}
