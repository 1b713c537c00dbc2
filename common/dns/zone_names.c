/* The names of a zone and their records. Thread: the builder's; look-ups any. */
#include "common/dns/zone_build.h"

#include "common/dns/dns_query.h"
#include "common/core/alloc.h"

#include <stdio.h>
#include <string.h>

enum { SOA_REFRESH_S = 3600, SOA_RETRY_S = 600, SOA_EXPIRE_S = 86400, RRSET_BYTES_MAX = 4096 };

/* --- the table --- */

const struct dns_node *dns_zone_find(const struct dns_zone *z, const uint8_t *below, size_t len) {
    uint64_t hash = dns_name_hash(below, len);
    for (size_t i = hash & (z->n_slots - 1);; i = (i + 1) & (z->n_slots - 1)) {
        const struct dns_node *n = z->slots[i];
        if (!n || (n->hash == hash && n->len == len && memcmp(n->below, below, len) == 0)) return n;
    }
}

const struct dns_rrset *dns_node_set(const struct dns_node *n, unsigned type) {
    for (size_t i = 0; i < n->n_sets; i++)
        if (n->sets[i].type == type) return &n->sets[i];
    return NULL;
}

static void slot_put(struct dns_zone *z, struct dns_node *n) {
    size_t i = n->hash & (z->n_slots - 1);
    while (z->slots[i])
        i = (i + 1) & (z->n_slots - 1);
    z->slots[i] = n;
}

static void table_grow(struct dns_zone *z) {
    struct dns_node **old = z->slots;
    size_t n_old = z->n_slots;
    z->n_slots = n_old ? 2 * n_old : 64;
    z->slots = xcalloc(z->n_slots, sizeof(struct dns_node *));
    for (size_t i = 0; i < n_old; i++)
        if (old[i]) slot_put(z, old[i]);
    free(old);
}

static struct dns_node *node_make(struct dns_zone *z, const uint8_t *below, size_t len) {
    struct dns_node *n = (struct dns_node *)(uintptr_t)dns_zone_find(z, below, len);
    if (n) return n;
    if (2 * (z->n_nodes + 1) > z->n_slots) table_grow(z);
    n = xcalloc(1, sizeof(*n));
    n->hash = dns_name_hash(below, len);
    n->len = (uint8_t)len;
    memcpy(n->below, below, len);
    slot_put(z, n);
    z->n_nodes++;
    return n;
}

/* The node of a name in the zone, with all those between it and the zone (RFC 4592 section 2.2.2: they exist, without
 * records). NULL: the name is not in the zone. */
static struct dns_node *node_of(struct dns_zone *z, const struct dns_name *name) {
    int below = dns_name_below(name, &z->name);
    if (below < 0) return NULL;
    for (size_t at = below ? 1u + name->wire[0] : 0; at && at < (size_t)below; at += 1u + name->wire[at])
        node_make(z, name->wire + at, (size_t)below - at);
    return node_make(z, name->wire, (size_t)below);
}

/* --- records --- */

static int clash(struct error *err, const struct dns_name *name, const char *what) {
    char text[DNS_NAME_TEXT_MAX];
    error_set(err, ERR_INVALID, "dns: %s has %s", dns_name_text(name, text), what);
    error_hint(err, "registry, central, the names of sites and of their edges, and dns.servers have records of their "
                    "own: give the other another name");
    return ERR_INVALID;
}

/* Appends a record to the set of its type; more: for the additional section. */
static int record_add(struct dns_node *n, unsigned type, const uint8_t *wire, size_t len, bool more) {
    struct dns_rrset *s = (struct dns_rrset *)(uintptr_t)dns_node_set(n, type);
    if (!s && n->n_sets == DNS_RRSETS_MAX) return ERR_TOO_BIG;
    if (!s) {
        s = &n->sets[n->n_sets++];
        s->type = (uint16_t)type;
    }
    size_t all = (size_t)s->len + s->more_len;
    if (all + len > RRSET_BYTES_MAX) return ERR_TOO_BIG;
    s->wire = xrealloc(s->wire, all + len, 1);
    memcpy(s->wire + all, wire, len);
    if (more) {
        s->n_more++;
        s->more_len = (uint16_t)(s->more_len + len);
    } else {
        s->count++;
        s->len = (uint16_t)(s->len + len);
    }
    return 0;
}

static int address_add(struct dns_node *n, const struct ip *ip, uint32_t ttl) {
    struct dns_address a;
    dns_address_render(&a, ip, ttl);
    return record_add(n, ip_is_v4(ip) ? DNS_A : DNS_AAAA, a.wire, a.len, false);
}

static int target_add(struct dns_zone *z, const struct dns_target *t, const struct dns_name *name, struct error *err) {
    struct dns_node *n = node_of(z, name);
    if (!n || n->kind != DNS_NODE_PLAIN || n->n_sets) return clash(err, name, "two meanings");
    for (size_t f = 0; f < DNS_FAMILIES; f++)
        if (t->record[f].len && address_add(n, &t->ip[f], z->ttl) < 0) return clash(err, name, "too many addresses");
    return 0;
}

static int special_add(struct dns_zone *z, const struct dns_name *name, enum dns_node_kind kind, size_t site,
                       struct error *err) {
    struct dns_node *n = node_of(z, name);
    if (!n || n->kind != DNS_NODE_PLAIN || n->n_sets) return clash(err, name, "two meanings");
    n->kind = kind;
    n->site = (uint32_t)site;
    return 0;
}

bool dns_zone_name(struct dns_name *out, const char *label, const char *site, const struct dns_name *zone) {
    char text[2 * DNS_LABEL_MAX + 3];
    snprintf(text, sizeof(text), "%.63s%s%.63s", label, site ? "." : "", site ? site : "");
    return dns_name_parse_in(out, text, zone);
}

static int own_names(struct dns_zone *z, struct error *err) {
    struct dns_name name;
    if (!dns_zone_name(&name, "registry", NULL, &z->name)) return ERR_INVALID;
    int r = special_add(z, &name, DNS_NODE_REGISTRY, 0, err);
    if (r == 0 && !dns_zone_name(&name, "central", NULL, &z->name)) r = ERR_INVALID;
    if (r == 0) r = target_add(z, &z->central, &name, err);
    for (size_t i = 0; i < z->n_sites && r == 0; i++) {
        const struct dns_site *s = &z->sites[i];
        if (!dns_zone_name(&name, s->name, NULL, &z->name)) return ERR_INVALID;
        r = special_add(z, &name, DNS_NODE_SITE, i, err);
        for (uint32_t e = s->first; e < s->first + s->n_edges && r == 0; e++) {
            if (!dns_zone_name(&name, z->edges[e].name, s->name, &z->name))
                return error_set(err, ERR_INVALID, "dns: %s.%s is too long a name in this zone", z->edges[e].name,
                                 s->name);
            r = target_add(z, &z->edges[e], &name, err);
        }
    }
    return r;
}

/* --- name servers --- */

/* A name as rdata in an answer or SOA whose zone's name can be pointed at: labels before it, then a pointer to
 * DNS_HEADER; *pointer is its place, or the name whole. Returns the length. */
static size_t name_in_zone(const struct dns_zone *z, const struct dns_name *name, uint8_t *out, size_t *pointer) {
    int below = dns_name_below(name, &z->name);
    if (below < 0) {
        memcpy(out, name->wire, name->len);
        *pointer = 0;
        return name->len;
    }
    memcpy(out, name->wire, (size_t)below);
    dns_put16(out + below, DNS_POINTER);
    *pointer = (size_t)below;
    return (size_t)below + 2;
}

/* The address of a server in the zone, behind the NS records: its owner points at the name in one of these. */
static int glue_add(struct dns_node *apex, const struct ip *ip, uint32_t ttl, size_t owner) {
    struct dns_address a;
    dns_address_render(&a, ip, ttl);
    dns_put16(a.wire, 0xc000u | (unsigned)owner);
    return record_add(apex, DNS_NS, a.wire, a.len, true);
}

struct server {
    struct dns_name name;
    struct ip ips[16];
    size_t n_ips;
    size_t at; /* of its name in the rendered answer, from the first record */
};

static int ns_add(struct dns_zone *z, struct dns_node *apex, struct server *s, struct error *err) {
    uint8_t wire[DNS_RECORD_HEAD + DNS_NAME_MAX + 2];
    size_t pointer, rdata = name_in_zone(z, &s->name, wire + DNS_RECORD_HEAD, &pointer);
    dns_record_head(wire, DNS_NS, z->ttl, rdata);
    const struct dns_rrset *set = dns_node_set(apex, DNS_NS);
    s->at = (set ? set->len : 0u) + DNS_RECORD_HEAD;
    if (record_add(apex, DNS_NS, wire, DNS_RECORD_HEAD + rdata, false) < 0)
        return error_set(err, ERR_INVALID, "dns.servers are too many");
    struct dns_node *n = node_of(z, &s->name);
    if (!n || n->n_sets) return 0; /* outside the zone; or it is central, whose name has its addresses */
    if (s->n_ips == 0) {
        char text[DNS_NAME_TEXT_MAX];
        return error_set(err, ERR_INVALID, "dns.servers: %s is in the zone and needs addresses",
                         dns_name_text(&s->name, text));
    }
    if (n->kind != DNS_NODE_PLAIN) return clash(err, &s->name, "two meanings");
    for (size_t i = 0; i < s->n_ips; i++)
        if (address_add(n, &s->ips[i], z->ttl) < 0) return clash(err, &s->name, "too many addresses");
    return 0;
}

static int servers_add(struct dns_zone *z, struct server *list, size_t n, struct error *err) {
    struct dns_node *apex = node_of(z, &z->name);
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = ns_add(z, apex, &list[i], err);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (dns_name_below(&list[i].name, &z->name) < 0) continue;
        size_t owner = DNS_HEADER + z->name.len + 4u + list[i].at;
        for (size_t j = 0; j < list[i].n_ips && r == 0 && owner < 0x4000; j++)
            r = glue_add(apex, &list[i].ips[j], z->ttl, owner);
        if (r < 0) error_set(err, ERR_INVALID, "dns.servers are too many");
    }
    return r;
}

static bool server_read(struct server *s, const struct dns_server_config *c, const struct dns_name *zone) {
    if (!dns_name_parse_in(&s->name, c->name, zone)) return false;
    for (size_t i = 0; i < c->n_addresses && s->n_ips < ARRAY_LEN(s->ips); i++)
        if (ip_parse(&s->ips[s->n_ips], c->addresses[i], strlen(c->addresses[i]))) s->n_ips++;
    return true;
}

/* Those configured; else ns1, at central's addresses. */
static int servers_make(struct dns_zone *z, const struct dns_config *c, struct error *err) {
    size_t n = c->n_servers ? c->n_servers : 1;
    struct server *list = xcalloc(n, sizeof(*list));
    int r = 0;
    for (size_t i = 0; i < c->n_servers && r == 0; i++)
        if (!server_read(&list[i], &c->servers[i], &z->name))
            r = error_set(err, ERR_INVALID, "dns.servers: \"%.100s\" is not a domain name", c->servers[i].name);
    if (c->n_servers == 0) {
        if (!dns_zone_name(&list[0].name, "ns1", NULL, &z->name)) r = ERR_INVALID;
        for (size_t f = 0; f < DNS_FAMILIES; f++)
            if (z->central.record[f].len) list[0].ips[list[0].n_ips++] = z->central.ip[f];
    }
    if (r == 0) r = servers_add(z, list, n, err);
    if (r < 0) {
        free(list);
        return r;
    }
    /* The SOA record names the first of them. Pointers are moved to where the zone's name stands in a question. */
    struct dns_soa *soa = &z->soa;
    uint8_t *w = soa->wire;
    struct dns_name mail;
    size_t at = DNS_RECORD_HEAD, pointer;
    soa->at[soa->n_at++] = 0;
    size_t len = name_in_zone(z, &list[0].name, w + at, &pointer);
    if (dns_name_below(&list[0].name, &z->name) >= 0) soa->at[soa->n_at++] = at + pointer;
    at += len;
    free(list);
    if (!dns_zone_name(&mail, "hostmaster", NULL, &z->name)) return ERR_INVALID;
    len = name_in_zone(z, &mail, w + at, &pointer);
    soa->at[soa->n_at++] = at + pointer;
    at += len;
    soa->serial_at = at;
    const uint32_t numbers[] = {0, SOA_REFRESH_S, SOA_RETRY_S, SOA_EXPIRE_S, z->ttl};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++, at += 4)
        dns_put32(w + at, numbers[i]);
    dns_record_head(w, DNS_SOA, z->ttl, at - DNS_RECORD_HEAD);
    soa->len = at;
    return 0;
}

/* --- static records --- */

static size_t rdata_make(const struct dns_record_config *c, const struct dns_name *zone, uint8_t *out) {
    struct ip ip;
    struct dns_name target;
    size_t len = strlen(c->value);
    switch (c->type) {
    case DNS_RECORD_A:
    case DNS_RECORD_AAAA:
        if (!ip_parse(&ip, c->value, len)) return 0;
        memcpy(out, ip.bytes + (c->type == DNS_RECORD_A ? 12 : 0), c->type == DNS_RECORD_A ? 4 : 16);
        return c->type == DNS_RECORD_A ? 4 : 16;
    case DNS_RECORD_CNAME:
        if (!dns_name_parse_in(&target, c->value, zone)) return 0;
        memcpy(out, target.wire, target.len);
        return target.len;
    case DNS_RECORD_TXT:
        out[0] = (uint8_t)len;
        memcpy(out + 1, c->value, len);
        return len + 1;
    }
    return 0;
}

static int static_add(struct dns_zone *z, const struct dns_record_config *c, struct error *err) {
    static const uint16_t types[] = {DNS_A, DNS_AAAA, DNS_CNAME, DNS_TXT};
    uint8_t wire[DNS_RECORD_HEAD + 256];
    struct dns_name name;
    size_t rdata = rdata_make(c, &z->name, wire + DNS_RECORD_HEAD);
    if (!dns_name_parse_in(&name, c->name, &z->name) || rdata == 0)
        return error_set(err, ERR_INVALID, "dns.records: \"%.100s\" is not a record of the zone", c->name);
    struct dns_node *n = node_of(z, &name);
    if (!n) return error_set(err, ERR_INVALID, "dns.records: %.100s is not in the zone", c->name);
    if (n->kind != DNS_NODE_PLAIN) return clash(err, &name, "two meanings");
    /* RFC 1034 section 3.6.2: nothing else stands beside a CNAME. */
    bool alias = c->type == DNS_RECORD_CNAME;
    if (n->n_sets && (alias || dns_node_set(n, DNS_CNAME))) return clash(err, &name, "a CNAME beside other records");
    if (alias && n->len == 0) return clash(err, &name, "a CNAME beside its SOA");
    dns_record_head(wire, types[c->type], z->ttl, rdata);
    if (record_add(n, types[c->type], wire, DNS_RECORD_HEAD + rdata, false) < 0)
        return clash(err, &name, "too many records");
    return 0;
}

int dns_zone_names(struct dns_zone *z, const struct dns_config *c, struct error *err) {
    table_grow(z);
    int r = own_names(z, err);
    if (r == 0) r = servers_make(z, c, err);
    for (size_t i = 0; i < c->n_records && r == 0; i++)
        r = static_add(z, &c->records[i], err);
    if (r < 0 && err && !err->code) error_set(err, r, "dns: a name is too long in the zone %.200s", c->zone);
    return r;
}

void dns_zone_names_free(struct dns_zone *z) {
    for (size_t i = 0; i < z->n_slots; i++) {
        struct dns_node *n = z->slots[i];
        if (!n) continue;
        for (size_t j = 0; j < n->n_sets; j++)
            free(n->sets[j].wire);
        free(n);
    }
    free(z->slots);
}
