/* What answers are made from at one moment: a zone, and for each site the edges that may be named. A new view replaces
 * the old one when an edge's health changes. Thread: built by one, then any (immutable). */
#ifndef ENTREPOT_DNS_VIEW_H
#define ENTREPOT_DNS_VIEW_H

#include "common/dns/dns_health.h"
#include "common/dns/zone.h"

/* Where a site's clients are sent. */
enum dns_from { DNS_FROM_SITE, DNS_FROM_NEIGHBOUR, DNS_FROM_CENTRAL };
struct dns_choice {
    uint8_t from;  /* enum dns_from */
    bool weighted; /* their weights differ */
    uint16_t n;
    uint32_t site;  /* whose edges they are, unless from central */
    uint32_t first; /* in candidates; with n 1 the edge itself */
    uint32_t slot;  /* where queries of the site that asks are counted */
};

struct dns_view {
    const struct dns_zone *zone;
    uint32_t serial;
    struct dns_soa soa;         /* the zone's, with the serial */
    struct dns_choice *choices; /* of each site */
    uint32_t *candidates;       /* indexes of the zone's edges */
    uint8_t *states;            /* enum dns_state of each edge */
    int64_t kept_since_ms;      /* as dns_health_kept_since */
};

/* zone is borrowed until dns_view_free; states (of each edge) for the call. */
struct dns_view *dns_view_new(const struct dns_zone *zone, const uint8_t *states, int64_t kept_since_ms,
                              uint32_t serial);
void dns_view_free(struct dns_view *v);

/* Prefix lengths to which clients are told apart within a site. */
enum { DNS_SUBNET4 = 24, DNS_SUBNET6 = 56 };
/* Picks targets for a client subnet, n at most: out gets them, the best first. The same subnet gets the same target as
 * long as that may be named, and a lost one's subnets are spread over the others (weighted rendezvous hashing). Returns
 * how many, at least 1. key: dns_subnet_key. */
size_t dns_view_pick(const struct dns_view *v, const struct dns_choice *c, uint64_t key, size_t n,
                     const struct dns_target *out[]);
uint64_t dns_subnet_key(const struct ip *ip, unsigned bits);

#endif
