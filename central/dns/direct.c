/* Chooses by the client's own address as the DNS chooses by the resolver's. Thread: any. */
#include "central/dns/direct.h"

#include "common/dns/answer.h"
#include "common/core/host_port.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool dns_direct_is_asked(const struct dns_zone *z, const char *host) {
    static const char first[] = "registry.";
    char zone[DNS_NAME_TEXT_MAX];
    struct host_port hp;
    if (!host_port_parse(&hp, host) || strncasecmp(hp.host, first, sizeof(first) - 1) != 0) return false;
    const char *rest = hp.host + sizeof(first) - 1;
    dns_name_text(&z->name, zone);
    size_t len = strlen(zone);
    if (strncasecmp(rest, zone, len) != 0) return false;
    return rest[len] == '\0' || strcmp(rest + len, ".") == 0;
}

static bool is_edge_of(const struct dns_zone *z, uint32_t site, const struct ip *ip, size_t family) {
    const struct dns_site *s = &z->sites[site];
    for (uint32_t e = s->first; e < s->first + s->n_edges; e++)
        if (memcmp(&z->edges[e].ip[family], ip, sizeof(*ip)) == 0) return true;
    return false;
}

bool dns_direct(const struct dns_view *v, const struct ip *ip, char *out, size_t cap) {
    const struct dns_zone *z = v->zone;
    bool four = ip_is_v4(ip);
    size_t family = four ? 0 : 1;
    struct dns_client client = {.ip = *ip, .bits = four ? 32 : 128};
    struct dns_chosen c;
    dns_choose(v, &client, NULL, &c);
    if (c.choice.from == DNS_FROM_CENTRAL || !z->has[family] || is_edge_of(z, c.match.site, ip, family)) return false;
    char zone[DNS_NAME_TEXT_MAX];
    const struct dns_target *t = c.targets[0];
    int n = snprintf(out, cap, "%s.%s.%s", t->name, t->site, dns_name_text(&z->name, zone));
    return n > 0 && (size_t)n < cap;
}
