/* Token buckets in a table of fixed size. Thread: the owner's. */
#include "common/dns/rate.h"

#include "common/dns/view.h"
#include "common/core/alloc.h"

#include <string.h>
#include <sys/random.h>

enum { SETS = 4096, WAYS = 4 }; /* 16,384 networks, 256 KiB */

struct bucket {
    uint64_t key; /* 0: unused */
    uint32_t at_ms;
    uint32_t tokens : 31, slip : 1;
};

struct dns_rate {
    unsigned per_s;
    uint64_t secret; /* so that nobody can choose networks that fall into one set */
    struct bucket table[SETS][WAYS];
};

struct dns_rate *dns_rate_new(unsigned per_s) {
    struct dns_rate *r = xcalloc(1, sizeof(*r));
    r->per_s = per_s;
    if (getrandom(&r->secret, sizeof(r->secret), 0) != (ssize_t)sizeof(r->secret)) abort();
    return r;
}

void dns_rate_free(struct dns_rate *r) {
    free(r);
}

/* The network's bucket; a new one, full, takes the place of the one that was quiet longest. */
static struct bucket *bucket_of(struct dns_rate *r, uint64_t key, uint32_t now_ms) {
    struct bucket *set = r->table[(key >> 1) % SETS], *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key) return &set[i];
        if (!set[i].key || (oldest->key && now_ms - set[i].at_ms > now_ms - oldest->at_ms)) oldest = &set[i];
    }
    *oldest = (struct bucket){.key = key, .at_ms = now_ms, .tokens = r->per_s & INT32_MAX};
    return oldest;
}

enum dns_rate_verdict dns_rate_take(struct dns_rate *r, const struct ip *ip, int64_t now_ms) {
    if (r->per_s == 0) return DNS_RATE_ANSWER;
    uint64_t key = dns_mix(dns_subnet_key(ip, ip_is_v4(ip) ? DNS_SUBNET4 : DNS_SUBNET6) ^ r->secret) | 1;
    struct bucket *b = bucket_of(r, key, (uint32_t)now_ms);
    uint64_t gained = (uint64_t)((uint32_t)now_ms - b->at_ms) * r->per_s / 1000;
    if (gained) {
        uint64_t tokens = b->tokens + gained;
        b->tokens = (uint32_t)(tokens < r->per_s ? tokens : r->per_s) & INT32_MAX;
        b->at_ms = (uint32_t)now_ms;
    }
    if (b->tokens) {
        b->tokens--;
        return DNS_RATE_ANSWER;
    }
    b->slip ^= 1u;
    return b->slip ? DNS_RATE_SLIP : DNS_RATE_DROP;
}
