/* The schema of sites and dns, and the rules about several of their keys. Thread: main. */
#include "central/config/central_config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/core/alloc.h"
#include "common/core/map.h"
#include "common/core/network.h"

#define TTL_MAX_MS 300000

/* --- checks of one value --- */

/* Names of sites and edges are labels of domain names: <edge>.<site>.<zone>. */
static int label_check(const char *value, struct error *err) {
    size_t len = strlen(value);
    bool ok = len >= 1 && len <= 63 && value[0] != '-' && value[len - 1] != '-';
    for (const char *c = value; *c; c++)
        ok = ok && ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-');
    if (ok) return 0;
    error_set(err, ERR_INVALID, "\"%.100s\" cannot be part of a domain name", value);
    error_hint(err, "use 1 to 63 letters, digits and '-', no '-' at its ends");
    return ERR_INVALID;
}

static int address_check(const char *value, struct error *err) {
    if (ip_parse(&(struct ip){0}, value, strlen(value))) return 0;
    return error_set(err, ERR_INVALID, "\"%.100s\" is neither an IPv4 nor an IPv6 address", value);
}

static int address6_check(const char *value, struct error *err) {
    struct ip ip;
    if (ip_parse(&ip, value, strlen(value)) && !ip_is_v4(&ip)) return 0;
    return error_set(err, ERR_INVALID, "\"%.100s\" is not an IPv6 address", value);
}

/* A name of letters, digits, '-' and '_', whose whole has room in a zone. */
static int zone_check(const char *value, struct error *err) {
    struct ip ip;
    int r = config_check_host(value, err);
    if (r == 0 && (strlen(value) > 180 || ip_parse(&ip, value, strlen(value)))) {
        r = error_set(err, ERR_INVALID, "\"%.100s\" cannot be a zone", value);
        error_hint(err, "use a domain name of at most 180 characters, such as img.acme.example");
    }
    return r;
}

static int name_check(const char *value, struct error *err) {
    size_t len = strlen(value);
    char copy[256];
    if (strcmp(value, "@") == 0) return 0;
    snprintf(copy, sizeof(copy), "%.*s", (int)(len - (len > 1 && value[len - 1] == '.')), value);
    if (len < 70 || value[len - 1] == '.') return config_check_host(copy, err);
    return error_set(err, ERR_INVALID, "\"%.100s\" is too long", value);
}

/* --- schemas --- */

#define EDGE(f) .at = offsetof(struct site_edge_config, f)
static const struct config_key edge_keys[] = {
    {.name = "name",
     .type = CONFIG_STRING,
     EDGE(name),
     .required = true,
     .check = label_check,
     .example = "sh-1",
     .doc = "The edge's name; it is reached as NAME.SITE.ZONE."},
    {.name = "address",
     .type = CONFIG_STRING,
     EDGE(address),
     .required = true,
     .check = address_check,
     .example = "10.1.0.5",
     .doc = "The address that clients of the site reach it by."},
    {.name = "address6",
     .type = CONFIG_STRING,
     EDGE(address6),
     .check = address6_check,
     .example = "2001:db8:1::5",
     .doc = "Its IPv6 address, if address is IPv4."},
    {.name = "weight",
     .type = CONFIG_INT,
     EDGE(weight),
     .fallback = "1",
     .min = 1,
     .max = 100,
     .doc = "Its share of the site's clients, beside the other edges' weights."},
};
static const struct config_schema edge_schema = CONFIG_SCHEMA(edge_keys);

#define SITE(f) .at = offsetof(struct site_config, f)
static const struct config_key site_keys[] = {
    {.name = "name",
     .type = CONFIG_STRING,
     SITE(name),
     .required = true,
     .check = label_check,
     .example = "shanghai",
     .doc = "The site's name."},
    {.name = "networks",
     .type = CONFIG_STRINGS,
     SITE(networks),
     .count_at = offsetof(struct site_config, n_networks),
     .check = config_check_network,
     .example = "[10.1.0.0/16, \"2001:db8:1::/48\"]",
     .doc = "Its networks. Where networks of several sites overlap, the longest prefix decides."},
    {.name = "neighbours",
     .type = CONFIG_STRINGS,
     SITE(neighbours),
     .count_at = offsetof(struct site_config, n_neighbours),
     .example = "[suzhou]",
     .doc = "Sites near it, the nearest first. Their edges answer while it has none of its own to name."},
    {.name = "edges",
     .type = CONFIG_ITEMS,
     SITE(edges),
     .count_at = offsetof(struct site_config, n_edges),
     .inner = &edge_schema,
     .item_size = sizeof(struct site_edge_config),
     .item_name = "name",
     .example = "[{name: sh-1, address: 10.1.0.5}]",
     .doc = "Its edges, beside those that have joined and say themselves where they are. One that does not report is "
            "asked every second for /v2/ on registry.port."},
};
const struct config_schema site_schema = CONFIG_SCHEMA(site_keys);

#define SERVER(f) .at = offsetof(struct dns_server_config, f)
static const struct config_key server_keys[] = {
    {.name = "name",
     .type = CONFIG_STRING,
     SERVER(name),
     .required = true,
     .check = name_check,
     .example = "ns1",
     .doc = "Name of the server, relative to the zone unless it ends with a dot."},
    {.name = "addresses",
     .type = CONFIG_STRINGS,
     SERVER(addresses),
     .count_at = offsetof(struct dns_server_config, n_addresses),
     .check = address_check,
     .example = "[10.0.0.1]",
     .doc = "Its addresses. They are needed if its name is in the zone."},
};
static const struct config_schema server_schema = CONFIG_SCHEMA(server_keys);

static const char *const record_types[] = {
    [DNS_RECORD_A] = "A", [DNS_RECORD_AAAA] = "AAAA", [DNS_RECORD_CNAME] = "CNAME", [DNS_RECORD_TXT] = "TXT", NULL};

#define RECORD(f) .at = offsetof(struct dns_record_config, f)
static const struct config_key record_keys[] = {
    {.name = "name",
     .type = CONFIG_STRING,
     RECORD(name),
     .required = true,
     .check = name_check,
     .example = "www",
     .doc = "Name relative to the zone; \"@\" is the zone itself."},
    {.name = "type",
     .type = CONFIG_WORD,
     RECORD(type),
     .words = record_types,
     .fallback = "A",
     .doc = "The record's type."},
    {.name = "value",
     .type = CONFIG_STRING,
     RECORD(value),
     .required = true,
     .example = "10.0.0.2",
     .doc = "An address; for CNAME a name, relative to the zone unless it ends with a dot; for TXT a text of at most "
            "255 bytes."},
};
static const struct config_schema record_schema = CONFIG_SCHEMA(record_keys);

#define DNS(f) .at = offsetof(struct central_config, dns.f)
#define PORT_KEY(f) offsetof(struct central_config, dns.f)
#define DNS_N(f) .count_at = offsetof(struct central_config, dns.f)
static const struct config_key dns_keys[] = {
    {.name = "zone",
     .type = CONFIG_STRING,
     DNS(zone),
     .check = zone_check,
     .example = "img.acme.example",
     .doc = "The zone answered for. registry.ZONE is the registry's name for every client. Absent: no DNS."},
    {.name = "listen",
     .type = CONFIG_STRING,
     DNS(listen),
     .check = config_check_listen,
     .fallback = ":5353",
     .doc = "Address and port, UDP and TCP. Resolvers ask port 53."},
    {.name = "ttl",
     .type = CONFIG_DURATION,
     DNS(ttl_ms),
     .fallback = "15s",
     .min = 1000,
     .max = TTL_MAX_MS,
     .doc = "How long resolvers may keep answers, in whole seconds, and so how long they go on naming an edge that has "
            "failed. "
            "10s to 30s suit most."},
    {.name = "answers",
     .type = CONFIG_INT,
     DNS(answers),
     .fallback = "1",
     .min = 1,
     .max = 2,
     .doc =
         "Addresses in an answer. Resolvers shuffle several, and an engine that meets a dead one first waits for it."},
    {.name = "central",
     .type = CONFIG_STRINGS,
     DNS(central),
     DNS_N(n_central),
     .check = address_check,
     .shown = "address, or determined from the network",
     .example = "[10.0.0.1]",
     .doc = "Central's addresses in answers: an IPv4 address, an IPv6 address, or one of each."},
    {.name = "servers",
     .type = CONFIG_ITEMS,
     DNS(servers),
     DNS_N(n_servers),
     .inner = &server_schema,
     .item_size = sizeof(struct dns_server_config),
     .item_name = "name",
     .shown = "ns1, with central's addresses",
     .example = "[{name: ns1, addresses: [10.0.0.1]}]",
     .doc = "The zone's name servers (NS), the primary first. The parent zone must name the same."},
    {.name = "records",
     .type = CONFIG_ITEMS,
     DNS(records),
     DNS_N(n_records),
     .inner = &record_schema,
     .item_size = sizeof(struct dns_record_config),
     .item_name = "name",
     .example = "[{name: www, type: A, value: 10.0.0.2}]",
     .doc = "Further records of the zone, which are always the same."},
    DNS_KEYS_OF_PORT(PORT_KEY),
    {.name = "cookie_file",
     .type = CONFIG_FILE,
     DNS(cookie_file),
     .shown = "a new secret at each start",
     .example = "/etc/entrepot/dns.cookie",
     .doc = "File with the secret of DNS cookies, 32 hexadecimal digits, the same on all servers of the zone. A second "
            "line is the former secret, which is still accepted."},
    {.name = "silent_after",
     .type = CONFIG_DURATION,
     DNS(silent_ms),
     .fallback = "3s",
     .min = 2000,
     .max = 60000,
     .doc = "How long an edge may be silent before it is no longer named in answers."},
    {.name = "load_max",
     .type = CONFIG_INT,
     DNS(load_max),
     .fallback = "90",
     .min = 10,
     .max = 100,
     .doc = "Load in percent over which an edge is not named in answers; it is again below four fifths of that."},
};
const struct config_schema dns_schema = CONFIG_SCHEMA(dns_keys);

/* --- rules about several keys --- */

struct names {
    struct config_load *load;
    struct map *seen; /* lower-case text to the path of the key that has it */
};

/* Reports a value, as it is written, whose key was seen before. 0, or the error's code. */
static int once_by(struct names *n, const char *path, const char *key, const char *value, const char *what,
                   struct error *err) {
    char lower[256];
    size_t len = 0;
    for (; len < sizeof(lower) - 1 && key[len]; len++)
        lower[len] = (char)(key[len] >= 'A' && key[len] <= 'Z' ? key[len] + 32 : key[len]);
    const char *before = map_get(n->seen, lower, len);
    if (!before) {
        map_set(n->seen, lower, len, xstrdup(path));
        return 0;
    }
    config_load_error(n->load, path, err, "\"%.100s\" is %s already at %s", value, what, before);
    return config_load_wrong(n->load, err);
}

static int once(struct names *n, const char *path, const char *value, const char *what, struct error *err) {
    return once_by(n, path, value, value, what, err);
}

/* Two ways to write one network are the same network. */
static int network_once(struct names *n, const char *path, const char *value, struct error *err) {
    struct network net;
    char ip[IP_TEXT_MAX], text[IP_TEXT_MAX + 8];
    if (!network_parse(&net, value)) return 0;
    for (unsigned bit = net.bits; bit < 128; bit++)
        net.ip.bytes[bit / 8] &= (unsigned char)~(0x80u >> (bit % 8));
    snprintf(text, sizeof(text), "%s/%u", ip_text(&net.ip, ip), net.bits);
    return once_by(n, path, text, value, "a network of a site", err);
}

/* A neighbour need not be configured (yet): the DNS says so in the log, and goes on to the next. */
static int neighbours_check(struct config_load *load, const struct central_config *c, size_t i, struct error *err) {
    const struct site_config *s = &c->sites[i];
    for (size_t j = 0; j < s->n_neighbours; j++) {
        char path[80];
        if (strcasecmp(s->neighbours[j], s->name) != 0) continue;
        snprintf(path, sizeof(path), "sites[%zu].neighbours", i);
        config_load_error(load, path, err, "a site is no neighbour of itself");
        int r = config_load_wrong(load, err);
        if (r < 0) return r;
    }
    return 0;
}

static int edges_check(struct config_load *load, const struct central_config *c, size_t i, struct error *err) {
    const struct site_config *s = &c->sites[i];
    struct names n = {load, map_new(free)};
    char path[80];
    int r = 0;
    snprintf(path, sizeof(path), "sites[%zu].edges", i);
    if (s->n_edges > SITE_EDGES_MAX)
        r = config_load_error(load, path, err, "are %zu; a site has at most %d", s->n_edges, SITE_EDGES_MAX);
    for (size_t j = 0; j < s->n_edges && r == 0; j++) {
        snprintf(path, sizeof(path), "sites[%zu].edges[%zu].name", i, j);
        r = once(&n, path, s->edges[j].name, "an edge", err);
        struct ip ip;
        const struct site_edge_config *e = &s->edges[j];
        if (r < 0 || !e->address6 || !ip_parse(&ip, e->address, strlen(e->address)) || ip_is_v4(&ip)) continue;
        snprintf(path, sizeof(path), "sites[%zu].edges[%zu].address6", i, j);
        config_load_error(load, path, err, "address is an IPv6 address already");
        r = config_load_wrong(load, err);
    }
    map_free(n.seen);
    return r;
}

static int sites_check(struct config_load *load, const struct central_config *c, struct error *err) {
    struct names sites = {load, map_new(free)}, networks = {load, map_new(free)};
    int r = 0;
    if (c->n_sites > SITES_MAX)
        r = config_load_error(load, "sites", err, "are %zu; at most %d can be used", c->n_sites, SITES_MAX);
    for (size_t i = 0; i < c->n_sites && r == 0; i++) {
        char path[80];
        snprintf(path, sizeof(path), "sites[%zu].name", i);
        r = once(&sites, path, c->sites[i].name, "a site", err);
        snprintf(path, sizeof(path), "sites[%zu].networks", i);
        for (size_t j = 0; j < c->sites[i].n_networks && r == 0; j++)
            r = network_once(&networks, path, c->sites[i].networks[j], err);
        if (r == 0) r = neighbours_check(load, c, i, err);
        if (r == 0) r = edges_check(load, c, i, err);
    }
    map_free(sites.seen);
    map_free(networks.seen);
    return r;
}

/* Which address families something has: bit 0 IPv4, bit 1 IPv6. */
static unsigned families(const char *address) {
    struct ip ip;
    if (!address || !ip_parse(&ip, address, strlen(address))) return 0;
    return ip_is_v4(&ip) ? 1 : 2;
}

/* A type exists for all sites or for none (RFC 7871 section 7.4), so all edges and central must share one. */
static int families_check(struct config_load *load, const struct central_config *c, struct error *err) {
    unsigned common = 0;
    for (size_t i = 0; i < c->dns.n_central; i++)
        common |= families(c->dns.central[i]);
    if (c->dns.n_central == 0) common = families(c->node.address);
    if (common == 0) return 0; /* found from the network at the start */
    for (size_t i = 0; i < c->n_sites; i++) {
        for (size_t j = 0; j < c->sites[i].n_edges; j++) {
            const struct site_edge_config *e = &c->sites[i].edges[j];
            unsigned left = common & (families(e->address) | families(e->address6));
            if (left) {
                common = left;
                continue;
            }
            char path[80];
            snprintf(path, sizeof(path), "sites[%zu].edges[%zu].address", i, j);
            return config_load_error(load, path, err,
                                     "central and all edges need addresses of one family, IPv4 or IPv6; this one "
                                     "shares none with those before it");
        }
    }
    return 0;
}

static int records_check(struct config_load *load, const struct central_config *c, struct error *err) {
    for (size_t i = 0; i < c->dns.n_records; i++) {
        const struct dns_record_config *rec = &c->dns.records[i];
        char path[80];
        struct error why = {0};
        snprintf(path, sizeof(path), "dns.records[%zu].value", i);
        unsigned family = families(rec->value);
        bool ok = rec->type == DNS_RECORD_A      ? family == 1
                  : rec->type == DNS_RECORD_AAAA ? family == 2
                  : rec->type == DNS_RECORD_TXT  ? strlen(rec->value) <= 255
                                                 : name_check(rec->value, &why) == 0;
        if (ok) continue;
        config_load_error(load, path, err, "\"%.100s\" cannot be the value of this type", rec->value);
        int r = config_load_wrong(load, err);
        if (r < 0) return r;
    }
    return 0;
}

static int central_address_check(struct config_load *load, const struct central_config *c, struct error *err) {
    if (c->dns.n_central > 2 || (c->dns.n_central == 2 && families(c->dns.central[0]) == families(c->dns.central[1])))
        return config_load_error(load, "dns.central", err, "takes one IPv4 and one IPv6 address");
    if (c->dns.n_central == 0 && c->node.address && families(c->node.address) == 0) {
        config_load_error(load, "dns.central", err, "must be given, because address is a name (%.100s)",
                          c->node.address);
        error_hint(err, "DNS answers hold addresses: set dns.central to those of this node");
        return ERR_INVALID;
    }
    return 0;
}

/* One report that is lost must not take an edge out of the answers. */
static int heartbeat_check(struct config_load *load, const struct central_config *c, struct error *err) {
    if (2 * c->heartbeat_ms <= c->dns.silent_ms) return 0;
    return config_load_error(load, "fleet.heartbeat", err, "is more than half of dns.silent_after");
}

int dns_config_check(struct config_load *load, const struct central_config *c, struct error *err) {
    int r = sites_check(load, c, err);
    if (r < 0 || !c->dns.zone) return r;
    r = central_address_check(load, c, err);
    if (r == 0) r = heartbeat_check(load, c, err);
    if (r == 0) r = records_check(load, c, err);
    if (r == 0) r = families_check(load, c, err);
    return r;
}
