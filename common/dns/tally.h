/* What one DNS thread counts: plain numbers that it alone writes and anyone may read. Bounded: sites have slots, and
 * those who ask without client subnet are remembered in a small table. Thread: counting its owner's, reading any. */
#ifndef ENTREPOT_DNS_TALLY_H
#define ENTREPOT_DNS_TALLY_H

#include <stdatomic.h>

#include "common/dns/dns_config.h"
#include "common/dns/view.h"

/* id, word for the metric's label, meaning. */
#define DNS_COUNTS(X)                                                            \
    X(UDP, "udp", "queries by UDP")                                              \
    X(TCP, "tcp", "queries by TCP")                                              \
    X(IGNORED, "ignored", "messages too short, or answers, which get no answer") \
    X(MALFORMED, "malformed", "answered FORMERR")                                \
    X(REFUSED, "refused", "another zone, class or operation")                    \
    X(NO_NAME, "no_name", "answered NXDOMAIN")                                   \
    X(NO_DATA, "no_data", "the name has no record of that type")                 \
    X(RECORDS, "records", "answered with records that are always the same")      \
    X(CHOSEN, "chosen", "answered by site")                                      \
    X(NO_ZONE, "no_zone", "answered SERVFAIL: nothing is known of the zone")     \
    X(TRUNCATED, "truncated", "answered \"truncated\", so that TCP is used")     \
    X(LIMITED, "limited", "not answered, over dns.rate")                         \
    X(COOKIES, "cookies", "queries with a good cookie")                          \
    X(SUBNETS, "subnets", "answered by site, with the client's subnet")
enum dns_count {
#define X(id, word, meaning) DNS_COUNT_##id,
    DNS_COUNTS(X)
#undef X
        DNS_COUNT_ALL
};
const char *dns_count_word(enum dns_count c);

/* Clients of no site are counted in the last slot. */
enum { DNS_SLOT_ELSEWHERE = SITES_MAX, DNS_SLOTS = SITES_MAX + 1, DNS_ASKERS = 256 };
struct dns_asker_count {
    _Atomic uint64_t high, low; /* its address */
    _Atomic uint32_t n;
};
struct dns_tally {
    _Atomic uint64_t counts[DNS_COUNT_ALL];
    _Atomic uint64_t sites[DNS_SLOTS][3]; /* by enum dns_from */
    struct dns_asker_count without_subnet[DNS_ASKERS];
};

static inline void dns_tally_add(_Atomic uint64_t *n) {
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}
/* A resolver that tells no client subnet was answered by its own address. Those that ask most stay in the table. */
void dns_tally_without_subnet(struct dns_tally *t, const struct ip *ip);

#endif
