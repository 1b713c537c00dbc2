/* The records of one tile, in the order of their keys. Thread: owned by its user. */
#ifndef ENTREPOT_RECORDS_TILE_H
#define ENTREPOT_RECORDS_TILE_H

#include "common/records/record.h"

struct tile_records {
    enum record_kind kind;
    struct buf bytes; /* one after the other */
    uint32_t *ends;   /* of each, its end in bytes */
    size_t n, cap;
};
void tile_records_init(struct tile_records *t, enum record_kind kind);
void tile_records_fini(struct tile_records *t);
/* Adds a sound record. Its key must come after those that are there: ERR_INVALID. */
int tile_records_add(struct tile_records *t, const void *record, size_t len) must_check;
static inline const uint8_t *tile_record(const struct tile_records *t, size_t i, size_t *len) {
    size_t start = i ? t->ends[i - 1] : 0;
    *len = t->ends[i] - start;
    return (const uint8_t *)t->bytes.data + start;
}
/* The digest of all. */
void tile_records_digest(const struct tile_records *t, const struct record_secret *s, struct set_digest *out);

/* The order of keys: as memcmp; a shorter key that begins another comes first. */
int record_key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

#endif
