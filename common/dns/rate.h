/* How many answers a network of clients gets by UDP in a second, so that queries with a forged address do not turn this
 * server against the address's owner. Memory is bounded: a network that was quiet longest is forgotten. Thread: its
 * owner's. */
#ifndef ENTREPOT_DNS_RATE_H
#define ENTREPOT_DNS_RATE_H

#include "common/core/network.h"

enum dns_rate_verdict {
    DNS_RATE_ANSWER,
    DNS_RATE_SLIP, /* answer "truncated", so that a real client asks again by TCP */
    DNS_RATE_DROP,
};

struct dns_rate;
/* per_s: answers a second, and at most so many at once; 0: no limit. */
struct dns_rate *dns_rate_new(unsigned per_s);
void dns_rate_free(struct dns_rate *r);
enum dns_rate_verdict dns_rate_take(struct dns_rate *r, const struct ip *ip, int64_t now_ms);

#endif
