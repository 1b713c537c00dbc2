/* Digests stand in chunks by their numbers, and are found through open-addressed slots under a random key, since whoever
 * publishes content may choose the first bits of its digest. Thread: its owner's. */
#include "common/records/digest_numbers.h"

#include "common/core/alloc.h"

#include <string.h>
#include <sys/random.h>

#define CHUNK_BITS 12u
#define CHUNK (1u << CHUNK_BITS)
#define SLOTS_MIN 64u

struct chunk {
    uint64_t live[CHUNK / 64]; /* a bit for each number in use */
    uint8_t digests[CHUNK][NUMBERED_DIGEST];
};

struct digest_numbers {
    uint64_t key[4];
    struct chunk **chunks;
    uint32_t n_chunks, chunks_cap;
    uint32_t low; /* no number below is free */
    uint32_t count;
    uint32_t mask;
    uint32_t *slots; /* 0: empty; else a number and one */
};

struct digest_numbers *digest_numbers_new(void) {
    struct digest_numbers *n = xcalloc(1, sizeof(*n));
    if (getrandom(n->key, sizeof(n->key), 0) != (ssize_t)sizeof(n->key)) abort();
    n->slots = xcalloc(SLOTS_MIN, sizeof(*n->slots));
    n->mask = SLOTS_MIN - 1;
    return n;
}

void digest_numbers_free(struct digest_numbers *n) {
    if (!n) return;
    for (uint32_t i = 0; i < n->n_chunks; i++)
        free(n->chunks[i]);
    free(n->chunks);
    free(n->slots);
    free(n);
}

size_t digest_numbers_count(const struct digest_numbers *n) {
    return n->count;
}

uint32_t digest_numbers_end(const struct digest_numbers *n) {
    return n->n_chunks << CHUNK_BITS;
}

static bool is_live(const struct digest_numbers *n, uint32_t number) {
    uint32_t at = number & (CHUNK - 1);
    return number >> CHUNK_BITS < n->n_chunks && n->chunks[number >> CHUNK_BITS]->live[at / 64] >> (at % 64) & 1;
}

const uint8_t *digest_numbers_get(const struct digest_numbers *n, uint32_t number) {
    return is_live(n, number) ? n->chunks[number >> CHUNK_BITS]->digests[number & (CHUNK - 1)] : NULL;
}

/* --- slots --- */

__extension__ typedef unsigned __int128 uint128;

static uint64_t mix(uint64_t a, uint64_t b) {
    uint128 m = (uint128)a * (b | 1);
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* All of the digest counts: an edge that reports invented ones may make most of their bytes alike. */
static uint32_t home_of(const struct digest_numbers *n, const uint8_t *digest) {
    uint64_t w[4];
    memcpy(w, digest, sizeof(w));
    return (uint32_t)mix(mix(w[0] ^ n->key[0], w[1] ^ n->key[1]) ^ w[2] ^ n->key[2], w[3] ^ n->key[3]) & n->mask;
}

static const uint8_t *digest_in(const struct digest_numbers *n, uint32_t slot) {
    return n->chunks[(slot - 1) >> CHUNK_BITS]->digests[(slot - 1) & (CHUNK - 1)];
}

/* Where the digest's slot is, or the empty one where it would go. */
static uint32_t slot_of(const struct digest_numbers *n, const uint8_t *digest) {
    uint32_t i = home_of(n, digest);
    while (n->slots[i] && memcmp(digest_in(n, n->slots[i]), digest, NUMBERED_DIGEST) != 0)
        i = (i + 1) & n->mask;
    return i;
}

static void slots_grow(struct digest_numbers *n) {
    uint32_t *old = n->slots, old_mask = n->mask;
    n->mask = 2 * old_mask + 1;
    n->slots = xcalloc(n->mask + 1, sizeof(*n->slots));
    for (uint32_t i = 0; i <= old_mask; i++) {
        if (old[i]) n->slots[slot_of(n, digest_in(n, old[i]))] = old[i];
    }
    free(old);
}

/* Those after it move up if that brings them nearer to their home, so no gap is left (Knuth, 6.4, algorithm R). */
static void slot_empty(struct digest_numbers *n, uint32_t i) {
    for (uint32_t j = (i + 1) & n->mask; n->slots[j]; j = (j + 1) & n->mask) {
        uint32_t home = home_of(n, digest_in(n, n->slots[j]));
        if (((j - home) & n->mask) < ((j - i) & n->mask)) continue;
        n->slots[i] = n->slots[j];
        i = j;
    }
    n->slots[i] = 0;
}

uint32_t digest_numbers_find(const struct digest_numbers *n, const uint8_t digest[NUMBERED_DIGEST]) {
    uint32_t slot = n->slots[slot_of(n, digest)];
    return slot ? slot - 1 : NO_NUMBER;
}

/* --- numbers --- */

static void chunks_reach(struct digest_numbers *n, uint32_t number) {
    while (n->n_chunks <= number >> CHUNK_BITS) {
        if (n->n_chunks == n->chunks_cap) {
            n->chunks_cap = n->chunks_cap ? 2 * n->chunks_cap : 16;
            n->chunks = xrealloc(n->chunks, n->chunks_cap, sizeof(*n->chunks));
        }
        n->chunks[n->n_chunks++] = xcalloc(1, sizeof(struct chunk));
    }
}

/* The lowest free number. */
static uint32_t lowest_free(struct digest_numbers *n) {
    for (uint32_t c = n->low >> CHUNK_BITS; c < n->n_chunks; c++) {
        for (uint32_t w = c == n->low >> CHUNK_BITS ? (n->low & (CHUNK - 1)) / 64 : 0; w < CHUNK / 64; w++) {
            uint64_t free_bits = ~n->chunks[c]->live[w];
            if (free_bits) return n->low = (c << CHUNK_BITS) + w * 64 + (uint32_t)__builtin_ctzll(free_bits);
        }
    }
    return n->low = n->n_chunks << CHUNK_BITS;
}

bool digest_numbers_put(struct digest_numbers *n, const uint8_t digest[NUMBERED_DIGEST], uint32_t number) {
    if (number >= DIGEST_NUMBERS_MAX || is_live(n, number)) return false;
    if (n->count + 1 > n->mask - n->mask / 4) slots_grow(n);
    uint32_t slot = slot_of(n, digest);
    if (n->slots[slot]) return false;
    chunks_reach(n, number);
    struct chunk *c = n->chunks[number >> CHUNK_BITS];
    uint32_t at = number & (CHUNK - 1);
    c->live[at / 64] |= 1ULL << (at % 64);
    memcpy(c->digests[at], digest, NUMBERED_DIGEST);
    n->slots[slot] = number + 1;
    n->count++;
    return true;
}

uint32_t digest_numbers_add(struct digest_numbers *n, const uint8_t digest[NUMBERED_DIGEST]) {
    uint32_t number = digest_numbers_find(n, digest);
    if (number != NO_NUMBER) return number;
    number = lowest_free(n);
    return digest_numbers_put(n, digest, number) ? number : NO_NUMBER;
}

void digest_numbers_remove(struct digest_numbers *n, uint32_t number) {
    const uint8_t *digest = digest_numbers_get(n, number);
    if (!digest) return;
    slot_empty(n, slot_of(n, digest));
    uint32_t at = number & (CHUNK - 1);
    n->chunks[number >> CHUNK_BITS]->live[at / 64] &= ~(1ULL << (at % 64));
    n->count--;
    if (number < n->low) n->low = number;
}
