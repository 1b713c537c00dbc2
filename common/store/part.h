/* Part files: bytes on their way into the store. One writer each (the fill); thread: one at a time. */
#ifndef ENTREPOT_STORE_PART_H
#define ENTREPOT_STORE_PART_H

#include "common/store/store.h"

struct part;
/* Opens or continues the part file of d. *have: bytes from the start that may be trusted to be contiguous (not yet to
 * be right), up to the first hole. ERR_BUSY if that digest has an open part already, ERR_NO_SPACE, -errno. */
int part_open(struct store *s, const struct digest *d, struct part **out, int64_t *have, struct error *err) must_check;
/* One that nobody continues: it is gone when it is discarded, or with the process. */
int part_new_temp(struct store *s, const struct digest *d, struct part **out, struct error *err) must_check;
/* Has d a part file already? Any thread. */
bool part_exists(struct store *s, const struct digest *d);
/* The file, for reading what has been written (reference given to the caller). */
struct open_file *part_file(struct part *p);
/* It will be `size` bytes long, as far as is known now, and is written on from `from`: room is taken on the disk ahead
 * of the writes, where there is plenty. */
void part_expect(struct part *p, int64_t from, int64_t size);
/* Writes at an offset (pwrite until done). ERR_NO_SPACE: the disk is full or the limit is reached and nothing more
 * could be evicted; -errno otherwise. Accounts the space and wakes eviction early enough that a fill seldom waits for
 * it. May block on disk: fetch loop or work pool. */
int part_write(struct part *p, int64_t offset, const void *data, size_t len) must_check;
int part_truncate(struct part *p, int64_t len) must_check;
/* Closes, keeping the bytes, if there are any, for later. */
void part_close(struct part *p);
/* Closes and removes. */
void part_discard(struct part *p);

/* The bytes are all there and proved by the caller. Syncs in the work pool, renames, adds the row and the table entry,
 * closes p (p must not be used after the call; references from part_file stay good). done(code, arg) runs on the work
 * pool or index writer: 0 once lookups find the blob; on failure (ERR_NO_SPACE, -EIO) the part is kept unless it cannot
 * be. ERR_NOT_FOUND: it was deleted or evicted again at the same moment. */
void part_commit(struct part *p, const struct commit_info *info, void (*done)(int code, void *arg), void *arg);

#endif
