/* Adds up what the DNS's threads have counted. Thread: as tally.h says. */
#include "common/dns/tally.h"

#include <string.h>

const char *dns_count_word(enum dns_count c) {
    static const char *const words[] = {
#define X(id, word, meaning) word,
        DNS_COUNTS(X)
#undef X
    };
    return words[c];
}

/* One entry for each hash: the same address raises its count, another lowers it and takes the entry at 0. */
void dns_tally_without_subnet(struct dns_tally *t, const struct ip *ip) {
    uint64_t high, low;
    memcpy(&high, ip->bytes, 8);
    memcpy(&low, ip->bytes + 8, 8);
    struct dns_asker_count *a = &t->without_subnet[dns_mix(high ^ dns_mix(low)) % DNS_ASKERS];
    uint32_t n = atomic_load_explicit(&a->n, memory_order_relaxed);
    bool same = atomic_load_explicit(&a->high, memory_order_relaxed) == high &&
                atomic_load_explicit(&a->low, memory_order_relaxed) == low;
    if (same || n == 0) {
        if (!same) {
            atomic_store_explicit(&a->high, high, memory_order_relaxed);
            atomic_store_explicit(&a->low, low, memory_order_relaxed);
        }
        n += n < UINT32_MAX;
    } else {
        n--;
    }
    atomic_store_explicit(&a->n, n, memory_order_relaxed);
}
