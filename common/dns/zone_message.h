/* What central tells the edges that answer DNS: the zone (proto/dns.proto), from which an edge builds the same zone as
 * central has. Decoding checks form and bounds; what the names mean is checked when the zone is built. Pure. Thread: any.
 */
#ifndef ENTREPOT_DNS_ZONE_MESSAGE_H
#define ENTREPOT_DNS_ZONE_MESSAGE_H

#include "common/dns/zone.h"

#define DNS_ZONE_PATH "/fleet/v1/dns"
/* Room for some 50,000 edges, or 100,000 networks. */
#define DNS_ZONE_MESSAGE_MAX ((size_t)(2 * MiB))
#define DNS_ZONE_SERVERS_MAX 64
#define DNS_ZONE_RECORDS_MAX 4096

struct dns_zone_message {
    struct dns_config dns; /* zone, ttl, answers, central, servers and records */
    struct site_config *sites;
    size_t n_sites;
    struct dns_cookies cookies;
    unsigned registry_port;
    int64_t silent_ms;
    void *unpacked; /* owns what they point to */
};

/* A zone that was built from parts. *out is malloc'ed; the caller frees it. ERR_TOO_BIG: over the bounds above. */
int dns_zone_message_encode(const struct dns_zone *z, const struct dns_zone_parts *parts, unsigned registry_port,
                            int64_t silent_ms, uint8_t **out, size_t *len) must_check;
/* ERR_INVALID: not this message, or out of bounds. ERR_TOO_BIG. ERR_UNSUPPORTED: a newer version. The caller calls
 * dns_zone_message_fini in any case. */
int dns_zone_message_decode(struct dns_zone_message *m, const void *data, size_t len) must_check;
void dns_zone_message_fini(struct dns_zone_message *m);
/* A hash of the encoded message, by which central and edges name it; never 0. */
uint64_t dns_zone_message_version(const void *data, size_t len);
/* The zone, as dns_zone_new builds it. */
int dns_zone_message_build(const struct dns_zone_message *m, struct dns_zone **out, struct error *err) must_check;

#endif
