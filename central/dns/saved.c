/* The file has a line "SITE EDGE" for each edge, and "SITE EDGE IPV4 IPV6" for one that has joined, "-" for an address
 * that it has not. Thread: as saved.h says. */
#include "central/dns/saved.h"

#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SAVED_MAX ((size_t)(4 << 20))

/* The length of "SITE EDGE". */
static size_t key_part(const char *line) {
    size_t n = strcspn(line, " ");
    return line[n] ? n + 1 + strcspn(line + n + 1, " ") : n;
}

static void addresses_text(const struct dns_target *t, char *out, size_t cap) {
    size_t len = 0;
    for (size_t f = 0; f < DNS_FAMILIES; f++) {
        char ip[IP_TEXT_MAX];
        len += (size_t)snprintf(out + len, cap - len, " %s", t->record[f].len ? ip_text(&t->ip[f], ip) : "-");
    }
}

void dns_saved_write(const struct dns_zone *zone, const struct dns_health *health, struct buf *out) {
    for (size_t i = 0; i < zone->n_edges; i++) {
        char key[DNS_EDGE_KEY_MAX];
        if (!dns_state_named(dns_health_state(health, i))) continue;
        char addresses[2 * IP_TEXT_MAX + 4] = "";
        dns_edge_key(key, zone->edges[i].site, zone->edges[i].name);
        if (zone->edges[i].joined) addresses_text(&zone->edges[i], addresses, sizeof(addresses));
        if (buf_printf(out, "%s%s\n", key, addresses) < 0) return; /* over 64 MiB: no configuration is that large */
    }
}

/* NULL: there is none that can be read. The caller frees it. */
static char *read_file(const char *path) {
    char *text = NULL;
    size_t len;
    struct error err = {0};
    int r = file_read_all(path, SAVED_MAX, &text, &len, &err);
    if (r < 0 && r != -ENOENT) log_warn("dns_state_unreadable", KV_S("why", err.msg));
    return r < 0 ? NULL : text;
}

static void read_joined(char *line, struct dns_joined_list *into,
                        bool (*may)(const char *site, const char *edge, void *arg), void *arg) {
    struct ip ip[DNS_FAMILIES] = {0};
    struct dns_joined *j;
    const char *site = strsep(&line, " "), *edge = line ? strsep(&line, " ") : NULL;
    if (!line || !may(site, edge, arg)) return;
    for (size_t f = 0; f < DNS_FAMILIES && line; f++) {
        const char *text = strsep(&line, " ");
        if (ip_parse(&ip[f], text, strlen(text)) && ip_is_v4(&ip[f]) == (f == 0)) continue;
        ip[f] = (struct ip){0};
    }
    (void)dns_joined_put(into, site, edge, ip, clock_mono_ms(), &j);
}

void dns_saved_joined(const char *path, struct dns_joined_list *into,
                      bool (*may)(const char *site, const char *edge, void *arg), void *arg) {
    _cleanup_(freep) char *text = read_file(path);
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));)
        read_joined(line, into, may, arg);
}

void dns_saved_read(const char *path, const struct dns_zone *zone, struct dns_health *health, int64_t now_ms) {
    _cleanup_(freep) char *text = read_file(path);
    if (!text) return;
    struct map *named = map_new(NULL);
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));)
        map_set(named, line, key_part(line), zone->edges);
    for (size_t i = 0; i < zone->n_edges; i++) {
        char key[DNS_EDGE_KEY_MAX];
        size_t n = dns_edge_key(key, zone->edges[i].site, zone->edges[i].name);
        int64_t for_ms = zone->edges[i].joined ? DNS_RESTORED_REPORTS_MS : DNS_RESTORED_ASKED_MS;
        if (map_get(named, key, n)) dns_health_restore(health, i, now_ms, for_ms);
    }
    map_free(named);
}
