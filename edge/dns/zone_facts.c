/* Thread: as the header says. */
#include "edge/dns/zone_facts.h"

#include <stdio.h>
#include <strings.h>

#include "common/dns/zone_message.h"
#include "common/node/probe.h"
#include "edge/link/central.h"
#include "edge/link/link_part.h"

enum { WITHIN_MS = 5000 };

static void add_addresses(json_t *list, const struct dns_target *t) {
    for (size_t f = 0; f < DNS_FAMILIES; f++) {
        char text[IP_TEXT_MAX];
        if (t->record[f].len) json_array_append_new(list, json_string(ip_text(&t->ip[f], text)));
    }
}

static const struct dns_site *site_named(const struct dns_zone *z, const char *name) {
    for (size_t i = 0; i < z->n_sites; i++)
        if (strcasecmp(z->sites[i].name, name) == 0) return &z->sites[i];
    return NULL;
}

static bool is_outside(const struct dns_zone *z, const struct dns_site *s, const struct ip *ip) {
    uint32_t site = (uint32_t)(s - z->sites);
    struct dns_match m = dns_prefixes_find(z->prefixes, ip, ip_is_v4(ip) ? 32 : 128);
    return dns_prefixes_has(z->prefixes, site) && (!m.prefix || m.site != site);
}

/* What clients are told of this edge. */
static void add_own(json_t *facts, const struct dns_zone *z, const struct dns_site *s, const char *edge) {
    json_t *own = json_array(), *outside = json_array();
    for (uint32_t i = s ? s->first : 0; s && i < s->first + s->n_edges; i++) {
        const struct dns_target *t = &z->edges[i];
        char text[IP_TEXT_MAX];
        if (strcasecmp(t->name, edge) != 0) continue;
        add_addresses(own, t);
        for (size_t f = 0; f < DNS_FAMILIES; f++)
            if (t->record[f].len && is_outside(z, s, &t->ip[f]))
                json_array_append_new(outside, json_string(ip_text(&t->ip[f], text)));
    }
    json_object_set_new(facts, "known", json_boolean(s != NULL));
    json_object_set_new(facts, "own", own);
    json_object_set_new(facts, "outside", outside);
}

json_t *zone_facts(const struct dns_zone *z, const char *site, const char *edge) {
    char zone[DNS_NAME_TEXT_MAX], name[DNS_NAME_TEXT_MAX + 16];
    json_t *addresses = json_array(), *central = json_array();
    for (size_t i = 0; i < z->n_edges; i++)
        if (strcasecmp(z->edges[i].site, site) == 0) add_addresses(addresses, &z->edges[i]);
    add_addresses(central, &z->central);
    snprintf(name, sizeof(name), "registry.%s", dns_name_text(&z->name, zone));
    json_t *facts = json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", name, "zone", zone, "site", site, "addresses",
                              addresses, "central", central);
    add_own(facts, z, site_named(z, site), edge);
    return facts;
}

json_t *zone_facts_of_central(const struct node *n, const char *site, const char *edge) {
    const char *url = uplink_url(uplink_of(n));
    struct buf said;
    struct dns_zone_message m = {0};
    struct dns_zone *z = NULL;
    struct error ignored = {0};
    json_t *facts = NULL;
    buf_init(&said, DNS_ZONE_MESSAGE_MAX);
    struct probe p = {.url = url,
                      .tls = uplink_tls(uplink_of(n)),
                      .insecure_tls = central_is_loopback(url),
                      .path = DNS_ZONE_PATH,
                      .body = &said};
    probes_ask(n->probes, &p, 1, WITHIN_MS);
    if (p.status == 200 && dns_zone_message_decode(&m, said.data, said.len) == 0 &&
        dns_zone_message_build(&m, &z, &ignored) == 0)
        facts = zone_facts(z, site, edge);
    dns_zone_free(z);
    dns_zone_message_fini(&m);
    buf_fini(&said);
    return facts;
}
