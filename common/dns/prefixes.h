/* Which site an address belongs to: the longest of all sites' networks that holds it, and how far the answer reaches.
 * Thread: built by one, then any (immutable). */
#ifndef ENTREPOT_DNS_PREFIXES_H
#define ENTREPOT_DNS_PREFIXES_H

#include "common/core/network.h"

struct dns_prefix {
    struct network net; /* bits of IPv4 counted as of its mapped address: 96 to 128 */
    uint32_t site;
};

struct dns_prefixes;
/* Copies list. The longest wins where networks overlap. */
struct dns_prefixes *dns_prefixes_new(const struct dns_prefix *list, size_t n);
void dns_prefixes_free(struct dns_prefixes *p);

/* Whether a network is of this site. */
bool dns_prefixes_has(const struct dns_prefixes *p, uint32_t site);

struct dns_match {
    const struct dns_prefix *prefix; /* NULL: no network holds the address */
    uint32_t site;                   /* of prefix */
    uint8_t scope; /* every address that shares so many bits with this one has the same match; 0 to 32 or 128 */
};
/* The longest network that holds all of ip/bits (IPv4: 0 to 32). If there is none, but networks lie within ip/bits, the
 * first of these: a resolver may tell less of an address than a small network needs. */
struct dns_match dns_prefixes_find(const struct dns_prefixes *p, const struct ip *ip, unsigned bits);

#endif
