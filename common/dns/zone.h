/* What the DNS answers with as far as it does not depend on which edges are well: sites and their networks, the names of
 * the zone and their records, rendered ahead. Central makes it from its configuration, at the start and on SIGHUP; an
 * edge from what central tells it. Thread: built by one, then any (immutable). */
#ifndef ENTREPOT_DNS_ZONE_H
#define ENTREPOT_DNS_ZONE_H

#include "common/dns/cookie.h"
#include "common/dns/dns_config.h"
#include "common/dns/dns_name.h"
#include "common/dns/prefixes.h"
#include "common/core/network.h"

/* One address as a rendered record whose owner is the question's name. len 0: there is none of that family. */
enum { DNS_ADDRESS_MAX = 28, DNS_FAMILIES = 2 };
struct dns_address {
    uint8_t len;
    uint8_t wire[DNS_ADDRESS_MAX];
};

/* One who can be named in answers: an edge, or central. */
struct dns_target {
    struct dns_address record[DNS_FAMILIES]; /* IPv4, IPv6; first, for it is all that most answers need */
    unsigned weight;
    uint64_t seed; /* from its name, the same in every process */
    struct ip ip[DNS_FAMILIES];
    char *name, *site; /* central: "central", and NULL */
    bool joined;       /* it is not configured: it has joined, and says itself where it is */
};

/* An edge that has joined and cannot be named. */
struct dns_left_out {
    char *name, *site;
    const char *why; /* static */
};

struct dns_site {
    char *name;
    uint32_t first, n_edges; /* in edges */
    uint32_t *neighbours;    /* indexes of sites */
    uint32_t n_neighbours;
    uint32_t slot; /* where its queries are counted (tally.h) */
};

/* Records of one type at a name, rendered for an answer whose question is that name. */
struct dns_rrset {
    uint16_t type, count;
    uint16_t n_more; /* records for the additional section, behind the others */
    uint16_t len, more_len;
    uint8_t *wire;
};

enum dns_node_kind {
    DNS_NODE_PLAIN,    /* has records, or is only on the way to names that have */
    DNS_NODE_REGISTRY, /* by the client's site */
    DNS_NODE_SITE,     /* of one site */
};
enum { DNS_RRSETS_MAX = 8 };
struct dns_node {
    uint64_t hash;
    uint8_t len; /* of the name's part below the zone */
    uint8_t below[DNS_NAME_MAX];
    enum dns_node_kind kind;
    uint32_t site;
    size_t n_sets;
    struct dns_rrset sets[DNS_RRSETS_MAX];
};

/* The SOA record, with the places of its pointers to the zone's name, and of its serial. */
struct dns_soa {
    uint8_t wire[600];
    size_t len, at[3], n_at, serial_at;
};

struct dns_zone {
    struct dns_name name;
    struct dns_cookies cookies;
    uint32_t ttl; /* seconds */
    unsigned answers;
    bool has[DNS_FAMILIES]; /* addresses of that family are answered for registry and the sites */
    struct dns_site *sites;
    size_t n_sites;
    struct dns_target *edges;
    size_t n_edges;
    struct dns_left_out *left_out;
    size_t n_left_out;
    struct dns_target central;
    struct dns_prefixes *prefixes;
    struct dns_soa soa;
    size_t n_nodes, n_slots;
    struct dns_node **slots; /* a hash table, a power of two, at most half full */
};

struct dns_joined; /* common/dns/joined.h */
/* What a zone is made of. All is borrowed for the call. */
struct dns_zone_parts {
    const struct dns_config *dns;
    const struct site_config *sites;
    size_t n_sites;
    const struct dns_cookies *cookies; /* of all servers of the zone; NULL: none */
    struct ip central[DNS_FAMILIES];   /* central's addresses, all zero where there is none; for where dns has none */
    struct dns_joined *const *joined;  /* edges that have joined; why of each is set */
    size_t n_joined;
};
/* Sites have the edges of the configuration, and of those that have joined the others that can be named. ERR_INVALID:
 * two things of the configuration want one name, or central and its edges share no family of addresses. */
int dns_zone_new(struct dns_zone **out, const struct dns_zone_parts *parts, struct error *err) must_check;
void dns_zone_free(struct dns_zone *z);
/* The node of the name below the zone, or NULL. */
const struct dns_node *dns_zone_find(const struct dns_zone *z, const uint8_t *below, size_t len);
const struct dns_rrset *dns_node_set(const struct dns_node *n, unsigned type);

#endif
