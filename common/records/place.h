/* A place in central's change log: the epoch, the number of the last change, and the digest of the state after it.
 * Plain values. Thread: any. */
#ifndef ENTREPOT_RECORDS_PLACE_H
#define ENTREPOT_RECORDS_PLACE_H

#include "common/records/record.h"

struct place {
    uint8_t epoch[EPOCH_BYTES]; /* secret to the fleet: only its first bytes are shown to people */
    uint64_t number;
    struct set_digest digest;
};

/* "EPOCH.NUMBER.DIGEST", hexadecimal but for the number. Returns out. */
#define PLACE_TEXT_MAX 96
char *place_text(const struct place *p, char out[PLACE_TEXT_MAX]);
/* ERR_INVALID: it is no such text. */
int place_parse(const char *s, struct place *out) must_check;
/* For people: the first four bytes of the epoch, and the number. Returns out. */
char *place_short(const struct place *p, char out[PLACE_TEXT_MAX]);
static inline bool place_same_epoch(const struct place *a, const struct place *b) {
    return memcmp(a->epoch, b->epoch, EPOCH_BYTES) == 0;
}

#endif
