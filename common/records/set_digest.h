/* The digest of a set of records: the sum, modulo 2^128, of a hash of each. A record is added or taken away in any order
 * for the cost of one hash, and the digest of a whole is the sum of the digests of its parts.
 *
 * The hash is keyed by the catalogue's epoch, which only the nodes of the fleet know (record.h). So nobody who merely
 * publishes images can choose records whose hashes cancel out, as would be easy with a public hash (Wagner's generalised
 * birthday attack on sums, linear algebra on XOR). Two sets that differ by accident have the same digest with a chance
 * of 2^-128. An edge, which knows the key, could only deceive itself. Pure. Thread: any. */
#ifndef ENTREPOT_RECORDS_SET_DIGEST_H
#define ENTREPOT_RECORDS_SET_DIGEST_H

#include "common/core/base.h"

#include <endian.h>
#include <string.h>

#define SET_DIGEST_BYTES 16

struct set_digest {
    uint64_t low, high;
};

static inline void set_digest_add(struct set_digest *a, const struct set_digest *b) {
    a->low += b->low;
    a->high += b->high + (a->low < b->low);
}

static inline void set_digest_take(struct set_digest *a, const struct set_digest *b) {
    a->high -= b->high + (a->low < b->low);
    a->low -= b->low;
}

static inline bool set_digest_eq(const struct set_digest *a, const struct set_digest *b) {
    return a->low == b->low && a->high == b->high;
}

/* As bytes: little-endian. Two loads and stores, since central reads a hundred million of them at a start. */
static inline void set_digest_put(const struct set_digest *d, uint8_t out[SET_DIGEST_BYTES]) {
    const uint64_t words[2] = {htole64(d->low), htole64(d->high)};
    memcpy(out, words, sizeof(words));
}

static inline struct set_digest set_digest_get(const uint8_t in[SET_DIGEST_BYTES]) {
    uint64_t words[2];
    memcpy(words, in, sizeof(words));
    return (struct set_digest){le64toh(words[0]), le64toh(words[1])};
}

#endif
