/* Packs a zone as its parts say it, with the edges that have got a place in it. Thread: any. */
#include "common/dns/zone_message.h"

#include "common/core/alloc.h"
#include "common/core/digest.h"
#include "common/dns/dns_query.h"
#include "common/wire/pack.h"
#include "common/wire/wire.h"
#include "proto/dns.pb-c.h"

#include <string.h>

enum { KEY_BYTES = 16, TTL_MAX_S = 300, SILENT_MAX_MS = 60000, WEIGHT_MAX = 100, LABEL_MAX = 63, NAME_MAX_LEN = 255 };

static const uint16_t record_types[] = {
    [DNS_RECORD_A] = DNS_A, [DNS_RECORD_AAAA] = DNS_AAAA, [DNS_RECORD_CNAME] = DNS_CNAME, [DNS_RECORD_TXT] = DNS_TXT};

/* --- encoding --- */

/* The addresses of a target, as text. Room for the texts and the list is the caller's. */
struct address_texts {
    char text[DNS_FAMILIES][IP_TEXT_MAX];
    char *list[DNS_FAMILIES];
};

static size_t put_addresses(struct address_texts *a, const struct dns_target *t) {
    size_t n = 0;
    for (size_t f = 0; f < DNS_FAMILIES; f++) {
        if (!t->record[f].len) continue;
        ip_text(&t->ip[f], a->text[n]);
        a->list[n] = a->text[n];
        n++;
    }
    return n;
}

/* All that a packed zone points to beside the zone and its parts. */
struct packing {
    Entrepot__V1__DnsSite *sites;
    Entrepot__V1__DnsSite **site_list;
    Entrepot__V1__DnsEdge *edges;
    Entrepot__V1__DnsEdge **edge_list;
    struct address_texts *addresses; /* of each edge, and of central */
    char **neighbours;
    Entrepot__V1__DnsServer *servers;
    Entrepot__V1__DnsServer **server_list;
    Entrepot__V1__DnsRecord *records;
    Entrepot__V1__DnsRecord **record_list;
    uint8_t keys[2 * KEY_BYTES];
};

static void packing_init(struct packing *p, const struct dns_zone *z, const struct dns_config *c) {
    size_t neighbours = 0;
    for (size_t i = 0; i < z->n_sites; i++)
        neighbours += z->sites[i].n_neighbours;
    p->sites = xcalloc(z->n_sites + 1, sizeof(*p->sites));
    p->site_list = xcalloc(z->n_sites + 1, sizeof(void *));
    p->edges = xcalloc(z->n_edges + 1, sizeof(*p->edges));
    p->edge_list = xcalloc(z->n_edges + 1, sizeof(void *));
    p->addresses = xcalloc(z->n_edges + 1, sizeof(*p->addresses));
    p->neighbours = xcalloc(neighbours + 1, sizeof(char *));
    p->servers = xcalloc(c->n_servers + 1, sizeof(*p->servers));
    p->server_list = xcalloc(c->n_servers + 1, sizeof(void *));
    p->records = xcalloc(c->n_records + 1, sizeof(*p->records));
    p->record_list = xcalloc(c->n_records + 1, sizeof(void *));
}

static void packing_fini(struct packing *p) {
    free(p->sites);
    free(p->site_list);
    free(p->edges);
    free(p->edge_list);
    free(p->addresses);
    free(p->neighbours);
    free(p->servers);
    free(p->server_list);
    free(p->records);
    free(p->record_list);
}

static void put_edges(struct packing *p, const struct dns_zone *z) {
    for (size_t i = 0; i < z->n_edges; i++) {
        entrepot__v1__dns_edge__init(p->edge_list[i] = &p->edges[i]);
        p->edges[i].name = z->edges[i].name;
        p->edges[i].weight = z->edges[i].weight;
        p->edges[i].n_addresses = put_addresses(&p->addresses[i], &z->edges[i]);
        p->edges[i].addresses = p->addresses[i].list;
    }
}

static void put_sites(struct packing *p, const struct dns_zone *z, const struct dns_zone_parts *parts) {
    char **near = p->neighbours;
    for (size_t i = 0; i < z->n_sites; i++) {
        const struct dns_site *s = &z->sites[i];
        Entrepot__V1__DnsSite *out = p->site_list[i] = &p->sites[i];
        entrepot__v1__dns_site__init(out);
        out->name = s->name;
        out->networks = parts->sites[i].networks;
        out->n_networks = parts->sites[i].n_networks;
        out->edges = p->edge_list + s->first;
        out->n_edges = s->n_edges;
        out->neighbours = near;
        out->n_neighbours = s->n_neighbours;
        for (uint32_t j = 0; j < s->n_neighbours; j++)
            *near++ = z->sites[s->neighbours[j]].name;
    }
}

static void put_names(struct packing *p, const struct dns_config *c) {
    for (size_t i = 0; i < c->n_servers; i++) {
        entrepot__v1__dns_server__init(p->server_list[i] = &p->servers[i]);
        p->servers[i].name = c->servers[i].name;
        p->servers[i].addresses = c->servers[i].addresses;
        p->servers[i].n_addresses = c->servers[i].n_addresses;
    }
    for (size_t i = 0; i < c->n_records; i++) {
        entrepot__v1__dns_record__init(p->record_list[i] = &p->records[i]);
        p->records[i].name = c->records[i].name;
        p->records[i].type = record_types[c->records[i].type];
        p->records[i].value = c->records[i].value;
    }
}

static size_t put_keys(uint8_t *out, const struct dns_cookies *c) {
    for (size_t i = 0; i < c->n; i++)
        memcpy(out + i * KEY_BYTES, c->keys[i], KEY_BYTES);
    return c->n * KEY_BYTES;
}

int dns_zone_message_encode(const struct dns_zone *z, const struct dns_zone_parts *parts, unsigned registry_port,
                            int64_t silent_ms, uint8_t **out, size_t *len) {
    const struct dns_config *c = parts->dns;
    struct packing p = {0};
    *out = NULL;
    if (c->n_servers > DNS_ZONE_SERVERS_MAX || c->n_records > DNS_ZONE_RECORDS_MAX) return ERR_TOO_BIG;
    packing_init(&p, z, c);
    put_edges(&p, z);
    put_sites(&p, z, parts);
    put_names(&p, c);
    Entrepot__V1__DnsZone m = ENTREPOT__V1__DNS_ZONE__INIT;
    m.version = WIRE_VERSION;
    m.zone = c->zone;
    m.ttl_s = z->ttl;
    m.answers = z->answers;
    m.central = p.addresses[z->n_edges].list;
    m.n_central = put_addresses(&p.addresses[z->n_edges], &z->central);
    m.servers = p.server_list;
    m.n_servers = c->n_servers;
    m.records = p.record_list;
    m.n_records = c->n_records;
    m.sites = p.site_list;
    m.n_sites = z->n_sites;
    m.registry_port = registry_port;
    m.silent_ms = (uint32_t)silent_ms;
    m.cookies = (ProtobufCBinaryData){put_keys(p.keys, &z->cookies), p.keys};
    int r = wire_pack(&m.base, DNS_ZONE_MESSAGE_MAX, out, len);
    packing_fini(&p);
    return r;
}

/* --- decoding --- */

static bool is_label(const char *s) {
    size_t len = strlen(s);
    return len >= 1 && len <= LABEL_MAX && !strchr(s, '.');
}

static bool is_address(const char *s) {
    return ip_parse(&(struct ip){0}, s, strlen(s));
}

static bool all_addresses(char *const *list, size_t n) {
    size_t good = 0;
    while (good < n && is_address(list[good]))
        good++;
    return good == n;
}

static bool take_edges(struct site_config *s, const Entrepot__V1__DnsSite *from) {
    if (from->n_edges > SITE_EDGES_MAX) return false;
    s->edges = xcalloc(from->n_edges + 1, sizeof(*s->edges));
    for (size_t i = 0; i < from->n_edges; i++) {
        const Entrepot__V1__DnsEdge *e = from->edges[i];
        bool sound = is_label(e->name) && e->n_addresses >= 1 && e->n_addresses <= DNS_FAMILIES &&
                     all_addresses(e->addresses, e->n_addresses) && e->weight >= 1 && e->weight <= WEIGHT_MAX;
        if (!sound) return false;
        s->edges[s->n_edges++] =
            (struct site_edge_config){e->name, e->addresses[0], e->n_addresses > 1 ? e->addresses[1] : NULL, e->weight};
    }
    return true;
}

static bool take_sites(struct dns_zone_message *m, const Entrepot__V1__DnsZone *p) {
    if (p->n_sites > SITES_MAX) return false;
    m->sites = xcalloc(p->n_sites + 1, sizeof(*m->sites));
    for (size_t i = 0; i < p->n_sites; i++) {
        const Entrepot__V1__DnsSite *from = p->sites[i];
        struct site_config *s = &m->sites[m->n_sites++];
        s->name = from->name;
        s->networks = from->networks;
        s->n_networks = from->n_networks;
        s->neighbours = from->neighbours;
        s->n_neighbours = from->n_neighbours;
        if (!is_label(s->name) || s->n_neighbours > SITES_MAX || !take_edges(s, from)) return false;
        for (size_t j = 0; j < s->n_networks; j++)
            if (!network_parse(&(struct network){0}, s->networks[j])) return false;
    }
    return true;
}

static bool take_servers(struct dns_config *c, const Entrepot__V1__DnsZone *p) {
    if (p->n_servers > DNS_ZONE_SERVERS_MAX) return false;
    c->servers = xcalloc(p->n_servers + 1, sizeof(*c->servers));
    for (size_t i = 0; i < p->n_servers; i++) {
        const Entrepot__V1__DnsServer *s = p->servers[i];
        if (strlen(s->name) > NAME_MAX_LEN || !all_addresses(s->addresses, s->n_addresses)) return false;
        c->servers[c->n_servers++] = (struct dns_server_config){s->name, s->addresses, s->n_addresses};
    }
    return true;
}

/* Whether the value fits its type; a name is checked when the zone is built. */
static bool is_value(enum dns_record_type type, const char *value) {
    struct ip ip;
    if (strlen(value) > NAME_MAX_LEN) return false;
    if (type != DNS_RECORD_A && type != DNS_RECORD_AAAA) return true;
    return ip_parse(&ip, value, strlen(value)) && ip_is_v4(&ip) == (type == DNS_RECORD_A);
}

static bool take_records(struct dns_config *c, const Entrepot__V1__DnsZone *p) {
    if (p->n_records > DNS_ZONE_RECORDS_MAX) return false;
    c->records = xcalloc(p->n_records + 1, sizeof(*c->records));
    for (size_t i = 0; i < p->n_records; i++) {
        const Entrepot__V1__DnsRecord *from = p->records[i];
        size_t type = 0;
        while (type < ARRAY_LEN(record_types) && record_types[type] != from->type)
            type++;
        if (type == ARRAY_LEN(record_types) || strlen(from->name) > NAME_MAX_LEN ||
            !is_value((enum dns_record_type)type, from->value))
            return false;
        c->records[c->n_records++] = (struct dns_record_config){from->name, (enum dns_record_type)type, from->value};
    }
    return true;
}

static bool take_keys(struct dns_cookies *c, const ProtobufCBinaryData *from) {
    if (from->len != KEY_BYTES && from->len != 2 * KEY_BYTES) return false;
    c->n = from->len / KEY_BYTES;
    for (size_t i = 0; i < c->n; i++)
        memcpy(c->keys[i], from->data + i * KEY_BYTES, KEY_BYTES);
    return true;
}

static int take(struct dns_zone_message *m, const Entrepot__V1__DnsZone *p) {
    int known = wire_check_version(p->version);
    if (known < 0) return known;
    bool sound = strlen(p->zone) <= NAME_MAX_LEN && p->ttl_s >= 1 && p->ttl_s <= TTL_MAX_S && p->answers >= 1 &&
                 p->answers <= 2 && p->n_central <= DNS_FAMILIES && all_addresses(p->central, p->n_central) &&
                 p->registry_port >= 1 && p->registry_port <= UINT16_MAX && p->silent_ms >= 1 &&
                 p->silent_ms <= SILENT_MAX_MS;
    if (!sound) return ERR_INVALID;
    m->dns.zone = p->zone;
    m->dns.ttl_ms = (int64_t)p->ttl_s * 1000;
    m->dns.answers = p->answers;
    m->dns.central = p->central;
    m->dns.n_central = p->n_central;
    m->registry_port = p->registry_port;
    m->silent_ms = p->silent_ms;
    sound =
        take_keys(&m->cookies, &p->cookies) && take_servers(&m->dns, p) && take_records(&m->dns, p) && take_sites(m, p);
    return sound ? 0 : ERR_INVALID;
}

int dns_zone_message_decode(struct dns_zone_message *m, const void *data, size_t len) {
    *m = (struct dns_zone_message){0};
    if (len > DNS_ZONE_MESSAGE_MAX) return ERR_TOO_BIG;
    Entrepot__V1__DnsZone *p = entrepot__v1__dns_zone__unpack(NULL, len, data);
    m->unpacked = p;
    return p ? take(m, p) : ERR_INVALID;
}

void dns_zone_message_fini(struct dns_zone_message *m) {
    for (size_t i = 0; i < m->n_sites; i++)
        free(m->sites[i].edges);
    free(m->sites);
    free(m->dns.servers);
    free(m->dns.records);
    if (m->unpacked) entrepot__v1__dns_zone__free_unpacked(m->unpacked, NULL);
    *m = (struct dns_zone_message){0};
}

uint64_t dns_zone_message_version(const void *data, size_t len) {
    struct digest d;
    uint64_t hash;
    digest_of(&d, DIGEST_SHA256, data, len);
    memcpy(&hash, d.bytes, sizeof(hash));
    return hash ? hash : 1;
}

int dns_zone_message_build(const struct dns_zone_message *m, struct dns_zone **out, struct error *err) {
    const struct dns_zone_parts parts = {
        .dns = &m->dns, .sites = m->sites, .n_sites = m->n_sites, .cookies = &m->cookies};
    return dns_zone_new(out, &parts, err);
}
