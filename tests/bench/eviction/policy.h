/* What the policies have in common: whole objects of different sizes in a room of so many bytes. Nothing larger than
 * the room is offered to them. Thread: one. */
#ifndef ENTREPOT_BENCH_EVICTION_POLICY_H
#define ENTREPOT_BENCH_EVICTION_POLICY_H

#include "tests/bench/eviction/trace.h"

struct policy {
    const char *key, *about;
    const void *settings; /* the policy's own */
    void *(*start)(const struct trace *t, int64_t room, const void *settings);
    /* Request i of the trace: was its object held? Afterwards it is, if the policy wants it. */
    bool (*ask)(void *cache, size_t i);
    bool (*has)(const void *cache, uint32_t object);
    int64_t (*held)(const void *cache); /* bytes */
    void (*end)(void *cache);
};

extern const struct policy policy_infinite, policy_lru, policy_gdsf, policy_lfuda, policy_s3fifo, policy_belady;
/* The product's own queues (common/store/evict.c): by themselves, and between the store's marks with manifests kept
 * for their children, as common/store/space.c does it. */
extern const struct policy policy_queues, policy_store;

struct result {
    int64_t asked_bytes, hit_bytes;
    size_t asked, hits;
    size_t manifests, manifest_hits;
};

struct result policy_run(const struct policy *p, const struct trace *t, int64_t room);
/* Hit ratios, percent. */
double result_bytes(const struct result *r);
double result_objects(const struct result *r);
double result_manifests(const struct result *r);

/* Byte hit ratio that no policy can pass, not even one that knows the future: PFOO-L (Berger, Beckmann, Harchol-Balter:
 * "Practical bounds on optimal caching with variable object sizes", 2018). Percent. */
double bound_bytes(const struct trace *t, int64_t room);

#endif
