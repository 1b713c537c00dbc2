/* What an edge holds, as a set of sha256 digests that it and central compare: by a digest of the set, then by those of
 * its tiles, which are divided by the first bits of a digest.
 *
 * The digest of a set is the sum, modulo 2^128, of half of each digest. There is no secret in it: who publishes images
 * whose digests cancel out makes no edge lose a change on the way, and only then would it matter. Pure. Thread: any. */
#ifndef ENTREPOT_RECORDS_HOLDING_TILES_H
#define ENTREPOT_RECORDS_HOLDING_TILES_H

#include "common/records/digest_numbers.h"
#include "common/records/set_digest.h"
#include "common/wire/edge_report.h"

#define HOLDING_TILE_WORDS (WIRE_HELD_TILES / 64)

_Static_assert(WIRE_HELD_DIGEST == NUMBERED_DIGEST && WIRE_HELD_SUM == SET_DIGEST_BYTES && WIRE_HELD_TILES == 1024,
               "messages carry what is compared here");

static inline unsigned holding_tile(const uint8_t digest[NUMBERED_DIGEST]) {
    return (unsigned)digest[0] << 2 | digest[1] >> 6;
}

static inline struct set_digest holding_element(const uint8_t digest[NUMBERED_DIGEST]) {
    return set_digest_get(digest + NUMBERED_DIGEST - SET_DIGEST_BYTES);
}

#endif
