/* Sha256 digests with a number each, so that a set of them can be a bitmap. Numbers are the lowest that are free, and are
 * given again. 32 bytes a digest, 4 to 8 for its slot, and a bit. Thread: owned by its user; no locking. */
#ifndef ENTREPOT_RECORDS_DIGEST_NUMBERS_H
#define ENTREPOT_RECORDS_DIGEST_NUMBERS_H

#include "common/core/base.h"

#define NUMBERED_DIGEST 32 /* bytes */
#define DIGEST_NUMBERS_MAX (1u << 26)
#define NO_NUMBER UINT32_MAX

struct digest_numbers;
struct digest_numbers *digest_numbers_new(void);
void digest_numbers_free(struct digest_numbers *n);

/* NO_NUMBER: it has none. */
uint32_t digest_numbers_find(const struct digest_numbers *n, const uint8_t digest[NUMBERED_DIGEST]);
/* Its number, a new one if it has none. NO_NUMBER: all are in use. */
uint32_t digest_numbers_add(struct digest_numbers *n, const uint8_t digest[NUMBERED_DIGEST]);
/* Gives it this very number. False: it is in use or too high, or the digest has one. */
bool digest_numbers_put(struct digest_numbers *n, const uint8_t digest[NUMBERED_DIGEST], uint32_t number) must_check;
/* Frees a number; does nothing if it is free. */
void digest_numbers_remove(struct digest_numbers *n, uint32_t number);
/* NULL: the number is free. Valid until it is. */
const uint8_t *digest_numbers_get(const struct digest_numbers *n, uint32_t number);
/* Numbers in use are below this. */
uint32_t digest_numbers_end(const struct digest_numbers *n);
size_t digest_numbers_count(const struct digest_numbers *n);

#endif
