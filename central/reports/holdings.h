/* Which edges hold which blobs, in memory: a number for each digest that any edge holds, and a compressed bitmap of
 * numbers for each edge (CRoaring). The numbers are its own, not the catalogue's: a damaged catalogue is begun anew, and
 * edges hold blobs that it has pruned. An edge's name and site never change. Thread: any (a read-write lock, held for a
 * look-up or a few hundred changes); what changes it is called by one thread, the writer of reports. */
#ifndef ENTREPOT_CENTRAL_REPORTS_HOLDINGS_H
#define ENTREPOT_CENTRAL_REPORTS_HOLDINGS_H

#include "common/core/digest.h"
#include "common/identity/member.h"
#include "common/records/holding_tiles.h"

struct holdings;
struct holder; /* an edge; valid until holdings_free */

/* blobs_max: different blobs that may be known; one edge may hold half of them. */
struct holdings *holdings_new(size_t blobs_max);
void holdings_free(struct holdings *h);

/* Whether what edges hold is known: 0; ERR_BUSY: it is still being read from the disk; else why it could not be read. It
 * is known at first. */
int holdings_state(struct holdings *h);
void holdings_set_state(struct holdings *h, int state);
/* Another one with the same bound, to read into while this one is asked. */
struct holdings *holdings_new_like(const struct holdings *h);
/* Takes all that `read` knows in place of what h knows, which is known then. Frees read. Before anything changes h. */
void holdings_adopt(struct holdings *h, struct holdings *read);

struct holder *holdings_edge(struct holdings *h, const char *name, const char *site); /* made if it is new */
struct holder *holdings_find(struct holdings *h, const char *name);                   /* NULL: nothing was told of it */
const char *holder_name(const struct holder *e);
const char *holder_site(const struct holder *e);

/* --- changes: the writer of reports --- */

/* What must be written to the disk after changes: numbers that were given or freed, and parts of an edge's bitmap. */
#define HOLDINGS_PART_BITS 12
#define HOLDINGS_PART (1u << HOLDINGS_PART_BITS) /* numbers in a part */
struct holdings_dirty {
    uint32_t *numbers, *parts; /* some stand twice */
    size_t n_numbers, n_parts, cap_numbers, cap_parts;
};
void holdings_dirty_fini(struct holdings_dirty *d);

/* The digests lie one after the other. ERR_BUSY: there is no room for all; those that fit were taken. */
int holdings_gain(struct holdings *h, struct holder *e, const uint8_t *digests, size_t n,
                  struct holdings_dirty *dirty) must_check;
void holdings_lose(struct holdings *h, struct holder *e, const uint8_t *digests, size_t n,
                   struct holdings_dirty *dirty);
/* Of these tiles the edge holds what was gained last, and nothing else: keep has the numbers of that
 * (holdings_numbers_of). tiles: a bit for each. */
struct holdings_keep;
struct holdings_keep *holdings_keep_new(void);
void holdings_keep_free(struct holdings_keep *k);
void holdings_keep_add(const struct holdings *h, struct holdings_keep *k, const uint8_t *digests, size_t n);
void holdings_keep_only(struct holdings *h, struct holder *e, const struct holdings_keep *k,
                        const uint64_t tiles[HOLDING_TILE_WORDS], struct holdings_dirty *dirty);

/* While it is read from the disk, each part of an edge once. False: the row does not fit the others. */
bool holdings_load_number(struct holdings *h, uint32_t number, const uint8_t digest[NUMBERED_DIGEST]) must_check;
void holdings_load_part(struct holdings *h, struct holder *e, uint32_t part, const uint16_t *within, size_t n);
/* Afterwards: frees numbers of blobs that nobody holds. */
void holdings_loaded(struct holdings *h, struct holdings_dirty *dirty);
/* The numbers of one part, each less the part's first. Returns how many. */
size_t holdings_part(struct holdings *h, const struct holder *e, uint32_t part, uint16_t within[HOLDINGS_PART]);
/* The digest of a number; NULL: it is free. The writer alone. */
const uint8_t *holdings_digest_of(const struct holdings *h, uint32_t number);

/* --- comparing --- */

struct set_digest holdings_sum(struct holdings *h, const struct holder *e);
/* The lower half of the digest of each tile. */
void holdings_tiles(struct holdings *h, const struct holder *e, uint64_t out[WIRE_HELD_TILES]);

/* --- asking --- */

/* Writes at most max edges of these sites that are known to hold the blob; returns how many. Cheap enough for a loop:
 * under 20 us with 50 edges. */
size_t holdings_at_sites(struct holdings *h, const struct digest *d, const char *const *sites, size_t n_sites,
                         const struct holder **out, size_t max);
/* fn for each edge that holds any of these blobs, in no order; has[i]: whether it holds the i-th. It must not call this
 * module. Returns the state; unless it is 0, fn was not called. */
int holdings_each(struct holdings *h, const struct digest *blobs, size_t n,
                  void (*fn)(const struct holder *e, const bool *has, void *arg), void *arg) must_check;

struct holdings_stats {
    int64_t blobs; /* different ones */
    int64_t bytes; /* of memory, about */
};
void holdings_stats(struct holdings *h, struct holdings_stats *out);
/* Blobs that the edge holds. */
int64_t holdings_count(struct holdings *h, const struct holder *e);

#endif
