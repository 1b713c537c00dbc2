/* Builds a zone: its sites, edges and networks. Thread: as zone.h says. */
#include "common/dns/zone_build.h"

#include "common/dns/dns_query.h"
#include "common/core/alloc.h"
#include "common/core/log.h"

#include <string.h>
#include <strings.h>

size_t dns_record_head(uint8_t *out, unsigned type, uint32_t ttl, size_t rdata_len) {
    dns_put16(out, DNS_POINTER);
    dns_put16(out + 2, type);
    dns_put16(out + 4, DNS_CLASS_IN);
    dns_put32(out + 6, ttl);
    dns_put16(out + 10, (unsigned)rdata_len);
    return DNS_RECORD_HEAD;
}

void dns_address_render(struct dns_address *out, const struct ip *ip, uint32_t ttl) {
    bool four = ip_is_v4(ip);
    size_t size = four ? 4 : 16;
    size_t at = dns_record_head(out->wire, four ? DNS_A : DNS_AAAA, ttl, size);
    memcpy(out->wire + at, ip->bytes + 16 - size, size);
    out->len = (uint8_t)(at + size);
}

/* --- targets --- */

void dns_target_address(struct dns_target *t, const struct ip *ip, uint32_t ttl) {
    static const struct ip none;
    if (memcmp(ip, &none, sizeof(none)) == 0) return;
    unsigned family = ip_is_v4(ip) ? 0 : 1;
    t->ip[family] = *ip;
    dns_address_render(&t->record[family], ip, ttl);
}

void dns_target_text(struct dns_target *t, const char *text, uint32_t ttl) {
    struct ip ip;
    if (text && ip_parse(&ip, text, strlen(text))) dns_target_address(t, &ip, ttl);
}

static void central_target(struct dns_zone *z, const struct dns_config *c, const struct ip found[DNS_FAMILIES]) {
    z->central.name = xstrdup("central");
    z->central.weight = 1;
    for (size_t i = 0; i < c->n_central; i++)
        dns_target_text(&z->central, c->central[i], z->ttl);
    for (size_t i = 0; i < DNS_FAMILIES && c->n_central == 0; i++)
        dns_target_address(&z->central, &found[i], z->ttl);
}

/* --- sites --- */

static void neighbours_make(struct dns_zone *z, const struct dns_zone_parts *c, size_t i) {
    const struct site_config *s = &c->sites[i];
    struct dns_site *site = &z->sites[i];
    site->neighbours = xcalloc(s->n_neighbours + 1, sizeof(*site->neighbours));
    for (size_t j = 0; j < s->n_neighbours; j++) {
        size_t k = 0;
        while (k < c->n_sites && strcasecmp(c->sites[k].name, s->neighbours[j]) != 0)
            k++;
        if (k < c->n_sites)
            site->neighbours[site->n_neighbours++] = (uint32_t)k;
        else
            log_warn("dns_neighbour_unknown", KV_S("site", s->name), KV_S("neighbour", s->neighbours[j]),
                     KV_S("why", "sites has none of that name"));
    }
}

static void prefixes_make(struct dns_zone *z, const struct dns_zone_parts *c) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < c->n_sites; i++)
        n += c->sites[i].n_networks;
    struct dns_prefix *list = xcalloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < c->n_sites; i++) {
        for (size_t j = 0; j < c->sites[i].n_networks; j++) {
            list[at].site = (uint32_t)i;
            if (network_parse(&list[at].net, c->sites[i].networks[j])) at++;
        }
    }
    z->prefixes = dns_prefixes_new(list, at);
    free(list);
}

/* A type is answered for all sites or for none: a negative answer is kept for every subnet (RFC 7871 section 7.4). */
static int families_decide(struct dns_zone *z, struct error *err) {
    for (size_t f = 0; f < DNS_FAMILIES; f++) {
        z->has[f] = z->central.record[f].len > 0;
        for (size_t i = 0; i < z->n_edges; i++)
            z->has[f] = z->has[f] && z->edges[i].record[f].len > 0;
    }
    if (z->has[0] || z->has[1]) return 0;
    error_set(err, ERR_INVALID, "dns: central and all edges need addresses of one family, IPv4 or IPv6");
    error_hint(err, "set dns.central to central's addresses of the family that all edges have");
    return ERR_INVALID;
}

int dns_zone_new(struct dns_zone **out, const struct dns_zone_parts *parts, struct error *err) {
    const struct dns_config *c = parts->dns;
    struct dns_zone *z = xcalloc(1, sizeof(*z));
    if (!dns_name_parse(&z->name, c->zone)) {
        free(z);
        return error_set(err, ERR_INVALID, "dns.zone: \"%.100s\" is not a domain name", c->zone);
    }
    z->ttl = (uint32_t)(c->ttl_ms / 1000);
    z->answers = c->answers;
    if (parts->cookies) z->cookies = *parts->cookies;
    z->n_sites = parts->n_sites;
    z->sites = xcalloc(z->n_sites + 1, sizeof(*z->sites));
    for (size_t i = 0; i < z->n_sites; i++)
        z->sites[i].name = xstrdup(parts->sites[i].name);
    central_target(z, c, parts->central);
    dns_zone_edges(z, parts);
    for (size_t i = 0; i < z->n_sites; i++)
        neighbours_make(z, parts, i);
    prefixes_make(z, parts);
    int r = families_decide(z, err);
    if (r == 0) r = dns_zone_names(z, c, err);
    if (r < 0) {
        dns_zone_free(z);
        return r;
    }
    *out = z;
    return 0;
}

void dns_zone_free(struct dns_zone *z) {
    if (!z) return;
    dns_zone_names_free(z);
    for (size_t i = 0; i < z->n_sites; i++) {
        free(z->sites[i].name);
        free(z->sites[i].neighbours);
    }
    for (size_t i = 0; i < z->n_edges; i++)
        free(z->edges[i].name);
    for (size_t i = 0; i < z->n_left_out; i++) {
        free(z->left_out[i].name);
        free(z->left_out[i].site);
    }
    free(z->left_out);
    free(z->central.name);
    free(z->sites);
    free(z->edges);
    dns_prefixes_free(z->prefixes);
    free(z);
}
