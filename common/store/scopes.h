/* The scopes of a store: names numbered from 1, so that a table entry holds a number. A number stands for one name for
 * as long as the process lives, even after the name was dropped, since requests and memories may still hold it; 0
 * stands for nothing. Thread: any. */
#ifndef ENTREPOT_STORE_SCOPES_H
#define ENTREPOT_STORE_SCOPES_H

#include "common/core/error.h"

#define SCOPE_NUMBER_MAX 0xffffffu /* 24 bits in a table entry */
/* Names at a time, if nobody says otherwise: about 200 bytes of memory each. */
#define SCOPES_MAX 1000000u

struct scopes;

/* max: names at a time; 0: SCOPES_MAX. */
struct scopes *scopes_new(size_t max);
void scopes_free(struct scopes *s);
/* 0: there is none of that name. */
uint32_t scopes_find(struct scopes *s, const char *name);
/* The number of name, made if there is none. *is_new tells. 0: no more can be made now. */
uint32_t scopes_make(struct scopes *s, const char *name, bool *is_new);
/* At load: name has this number. False when it is out of range or either is taken. */
bool scopes_put(struct scopes *s, uint32_t id, const char *name);
/* At load: id is used somewhere, perhaps without a name; it is not given to another. */
void scopes_reserve(struct scopes *s, uint32_t id);

/* There are so many that it is worth while to look for those that nothing uses. */
bool scopes_crowded(struct scopes *s);
/* Which numbers are in use: a bit each. */
struct scopes_used {
    uint64_t bits[(SCOPE_NUMBER_MAX + 1) / 64];
};
static inline void scopes_use(struct scopes_used *u, uint32_t id) {
    u->bits[id / 64] |= 1ULL << (id % 64);
}
/* Drops the names of numbers that are not in use, but for those made since the last sweep, whose content may still be
 * on its way; *gone gets their numbers (the caller frees). Returns how many. */
size_t scopes_sweep(struct scopes *s, const struct scopes_used *used, uint32_t **gone);
/* Every name there is now; fn may call nothing of these. */
void scopes_each(struct scopes *s, void (*fn)(uint32_t id, const char *name, size_t len, void *arg), void *arg);
/* Changes whenever a name is dropped: a number found before may be that of no name any more. */
uint64_t scopes_epoch(const struct scopes *s);

#endif
