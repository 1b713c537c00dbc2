/* Part files: blobs that are still being written. Each has one writer, the fill. Thread: the writer's, one at a time;
 * it may block on the disk. */
#ifndef ENTREPOT_STORE_PART_H
#define ENTREPOT_STORE_PART_H

#include "common/store/store.h"

struct part;
/* Opens the part file of d, or continues an existing one. *have: bytes from the start up to the first hole; they are
 * there but not proved. ERR_BUSY: that digest has an open part already; ERR_NO_SPACE; -errno. */
int part_open(struct store *s, const struct digest *d, struct part **out, int64_t *have, struct error *err) must_check;
/* Opens a part file that nobody continues: it is removed when it is discarded, or when the process ends. */
int part_new_temp(struct store *s, const struct digest *d, struct part **out, struct error *err) must_check;
/* Any thread. True if d has a part file. */
bool part_exists(struct store *s, const struct digest *d);
/* The file, for reading what has been written (reference given to the caller). */
struct open_file *part_file(struct part *p);
/* Tells the expected size, and that writing goes on from `from`. Disk space is reserved ahead of the writes if there is
 * plenty. */
void part_expect(struct part *p, int64_t from, int64_t size);
/* Writes at an offset, all of it. ERR_NO_SPACE: the disk is full, or the limit is reached and nothing more can be
 * evicted; else -errno. Counts the space and wakes eviction early, so that a fill seldom waits for it. May block on the
 * disk: fetch loop or work pool. */
int part_write(struct part *p, int64_t offset, const void *data, size_t len) must_check;
int part_truncate(struct part *p, int64_t len) must_check;
/* What was written cannot be read back: code, -errno. `doctor` and `status` tell it. */
void part_unreadable(struct part *p, int code);
/* Closes, keeping the bytes for later, if there are any and the disk gives them back. */
void part_close(struct part *p);
/* Closes and removes. */
void part_discard(struct part *p);

/* Commits a part whose bytes the caller has proved. Syncs in the work pool, renames, adds the row and the table entry,
 * and closes p, which must not be used after the call (references from part_file stay valid). done(code, arg) runs on
 * the work pool or index writer: 0 once lookups find the blob. On failure (ERR_NO_SPACE, -EIO) the part is kept if
 * possible. ERR_NOT_FOUND: it was deleted or evicted at the same moment. */
void part_commit(struct part *p, const struct commit_info *info, void (*done)(int code, void *arg), void *arg);

#endif
