/* The edges of a zone: those of the configuration, and those that have joined and say themselves where they are. Thread:
 * the builder's. */
#include "common/dns/zone_build.h"

#include "common/dns/joined.h"
#include "common/core/alloc.h"
#include "common/core/map.h"

#include <string.h>
#include <strings.h>

static uint64_t seed_of(const char *site, const char *edge) {
    return dns_mix(dns_name_hash((const uint8_t *)site, strlen(site)) ^
                   3 * dns_name_hash((const uint8_t *)edge, strlen(edge)));
}

/* --- those of the configuration --- */

static void add_configured(struct dns_zone *z, size_t site, const struct site_edge_config *e) {
    struct dns_target *t = &z->edges[z->n_edges++];
    t->name = xstrdup(e->name);
    t->site = z->sites[site].name;
    t->weight = e->weight;
    t->seed = seed_of(t->site, t->name);
    dns_target_text(t, e->address, z->ttl);
    dns_target_text(t, e->address6, z->ttl);
}

/* --- those that have joined --- */

/* Joined edges by their sites: a list for each site of the configuration. */
struct by_site {
    size_t *first, *next; /* index of an edge that has joined, and one; 0: none */
};

static const struct ip no_address;

static bool has_address(const struct ip *ip) {
    return memcmp(ip, &no_address, sizeof(no_address)) != 0;
}

/* True for addresses that lead no client to one machine: loopback, link-local, multicast, unspecified. */
static bool leads_nowhere(const struct ip *ip) {
    const unsigned char *b = ip->bytes;
    if (ip_is_loopback(ip)) return true;
    if (ip_is_v4(ip)) return b[12] == 0 || b[12] >= 224 || (b[12] == 169 && b[13] == 254);
    return b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || !has_address(ip);
}

/* Which families all edges must have: those that central and all edges of the configuration have. */
static void needed_families(const struct dns_zone *z, const struct dns_zone_parts *c, bool needed[DNS_FAMILIES]) {
    for (size_t f = 0; f < DNS_FAMILIES; f++)
        needed[f] = z->central.record[f].len > 0;
    for (size_t i = 0; i < c->n_sites; i++) {
        for (size_t j = 0; j < c->sites[i].n_edges; j++) {
            struct dns_target t = {0};
            dns_target_text(&t, c->sites[i].edges[j].address, z->ttl);
            dns_target_text(&t, c->sites[i].edges[j].address6, z->ttl);
            for (size_t f = 0; f < DNS_FAMILIES; f++)
                needed[f] = needed[f] && t.record[f].len > 0;
        }
    }
}

static bool name_is_taken(const struct dns_zone *z, const struct dns_config *c, const struct dns_name *name) {
    struct dns_name other;
    for (size_t i = 0; i < c->n_records; i++)
        if (dns_name_parse_in(&other, c->records[i].name, &z->name) && other.len == name->len &&
            memcmp(other.wire, name->wire, name->len) == 0)
            return true;
    for (size_t i = 0; i < c->n_servers; i++)
        if (dns_name_parse_in(&other, c->servers[i].name, &z->name) && other.len == name->len &&
            memcmp(other.wire, name->wire, name->len) == 0)
            return true;
    return false;
}

/* Why it cannot be named; NULL: it can. */
static const char *unfit(const struct dns_zone *z, const struct dns_config *c, const struct dns_joined *j,
                         const bool needed[DNS_FAMILIES]) {
    static const char *const lacks[DNS_FAMILIES] = {"it has no IPv4 address, which central and the other edges have",
                                                    "it has no IPv6 address, which central and the other edges have"};
    struct dns_name name;
    if (strchr(j->name, '.')) return "its name has a dot, so it cannot be part of a domain name";
    if (!dns_zone_name(&name, j->name, j->site, &z->name)) return "its name is too long in this zone";
    if (name_is_taken(z, c, &name)) return "a record or server of the zone has its name";
    for (size_t f = 0; f < DNS_FAMILIES; f++) {
        if (has_address(&j->ip[f]) && leads_nowhere(&j->ip[f]))
            return "clients cannot reach it by the address that it says: set the key address there";
        if (needed[f] && !has_address(&j->ip[f])) return lacks[f];
    }
    return NULL;
}

static void leave_out(struct dns_zone *z, struct dns_joined *j, const char *why) {
    j->why = why;
    z->left_out[z->n_left_out++] = (struct dns_left_out){xstrdup(j->name), xstrdup(j->site), why};
}

static const struct dns_target *named_alike(const struct dns_zone *z, const struct dns_site *s, const char *name) {
    for (uint32_t e = s->first; e < z->n_edges; e++)
        if (strcasecmp(z->edges[e].name, name) == 0) return &z->edges[e];
    return NULL;
}

static void add_joined(struct dns_zone *z, size_t site, struct dns_joined *j) {
    struct dns_target *t = &z->edges[z->n_edges++];
    t->name = xstrdup(j->name);
    t->site = z->sites[site].name;
    t->weight = 1;
    t->seed = seed_of(t->site, t->name);
    t->joined = true;
    for (size_t f = 0; f < DNS_FAMILIES; f++)
        dns_target_address(t, &j->ip[f], z->ttl);
}

static void place_joined(struct dns_zone *z, const struct dns_config *c, size_t site, struct dns_joined *j,
                         const bool needed[DNS_FAMILIES]) {
    const struct dns_target *same = named_alike(z, &z->sites[site], j->name);
    const char *why = unfit(z, c, j, needed);
    j->why = NULL;
    if (same && !same->joined) return; /* what is configured counts */
    if (!why && same) why = "another edge of its site has the same name but for the case of letters";
    if (!why && z->n_edges - z->sites[site].first >= SITE_EDGES_MAX) why = "its site has as many edges as can be named";
    if (why)
        leave_out(z, j, why);
    else
        add_joined(z, site, j);
}

static size_t lower(char out[64], const char *name) {
    size_t n = 0;
    for (; n < 63 && name[n]; n++)
        out[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] + 32 : name[n]);
    return n;
}

/* Those whose site is not configured are left out. */
static void group(struct dns_zone *z, const struct dns_zone_parts *p, struct by_site *g) {
    struct map *sites = map_new(NULL);
    char key[64];
    for (size_t i = 0; i < z->n_sites; i++) {
        size_t len = lower(key, z->sites[i].name);
        map_set(sites, key, len, (void *)(i + 1));
    }
    for (size_t i = p->n_joined; i-- > 0;) { /* so that each list is in their order */
        size_t len = lower(key, p->joined[i]->site), site = (size_t)map_get(sites, key, len);
        if (!site) {
            leave_out(z, p->joined[i], "its site is not among the key sites, so no client is known to be there");
            continue;
        }
        g->next[i] = g->first[site - 1];
        g->first[site - 1] = i + 1;
    }
    map_free(sites);
}

void dns_zone_edges(struct dns_zone *z, const struct dns_zone_parts *p) {
    bool needed[DNS_FAMILIES];
    size_t n = p->n_joined;
    for (size_t i = 0; i < p->n_sites; i++)
        n += p->sites[i].n_edges;
    z->edges = xcalloc(n + 1, sizeof(*z->edges));
    z->left_out = xcalloc(p->n_joined + 1, sizeof(*z->left_out));
    struct by_site g = {.first = xcalloc(p->n_sites + 1, sizeof(size_t)),
                        .next = xcalloc(p->n_joined + 1, sizeof(size_t))};
    needed_families(z, p, needed);
    group(z, p, &g);
    for (size_t i = 0; i < p->n_sites; i++) {
        z->sites[i].first = (uint32_t)z->n_edges;
        for (size_t j = 0; j < p->sites[i].n_edges; j++)
            add_configured(z, i, &p->sites[i].edges[j]);
        for (size_t at = g.first[i]; at; at = g.next[at - 1])
            place_joined(z, p->dns, i, p->joined[at - 1], needed);
        z->sites[i].n_edges = (uint32_t)z->n_edges - z->sites[i].first;
    }
    free(g.first);
    free(g.next);
}
