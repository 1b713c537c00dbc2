/* Descriptors of blobs that were opened lately, so that a warm hit opens nothing. Sharded, bounded; every file counted,
 * so whoever is sending keeps it open whatever happens here. Thread: any (a shard's lock is held for a look-up, never
 * over I/O). */
#ifndef ENTREPOT_STORE_FILES_H
#define ENTREPOT_STORE_FILES_H

#include "common/core/digest.h"
#include "common/core/open_file.h"

struct files;

/* At most `max` (rounded to the shards) descriptors. */
struct files *files_new(unsigned max);
void files_free(struct files *f);
/* A reference, or NULL. */
struct open_file *files_get(struct files *f, const struct digest *d);
/* Keeps a reference of its own; the caller's stays the caller's. */
void files_put(struct files *f, const struct digest *d, struct open_file *file);
void files_drop(struct files *f, const struct digest *d);
/* Somebody besides the cache has it open (as far as the cache knows it). */
bool files_in_use(struct files *f, const struct digest *d);

#endif
