/* Where a fill's bytes are, on disk and, when the disk takes no more, in the window. No field is touched but by
 * bytes.c. Thread: fetch loop, but for what is marked. */
#ifndef ENTREPOT_FILL_BYTES_H
#define ENTREPOT_FILL_BYTES_H

#include <stdatomic.h>

#include "common/core/open_file.h"
#include "common/fill/fill.h"
#include "common/store/part.h"

struct bytes {
    bool part_due; /* there is no part file yet */
    struct part *part;
    /* Read by readers' loops. */
    struct open_file *disk;             /* set once, before anything is visible; NULL: all in the window */
    _Atomic(struct open_file *) window; /* set once: a memory file with the same offsets, from window_from on */
    _Atomic int64_t window_from;
    _Atomic int64_t window_floor; /* from window_from to here bytes have been dropped; raised before they are */
    atomic_bool wants_consumed;   /* readers tell when they have moved on */
};

void fill_bytes_init(struct fill *f, bool part_due);
/* file: the committed blob; reference taken over. */
void fill_bytes_init_held(struct fill *f, struct open_file *file);
void fill_bytes_fini(struct fill *f);

/* Opens the part file if one is there. Returns how many bytes it has. */
int64_t fill_bytes_open_left(struct fill *f);
/* There will be something to keep: makes the part file if there is none yet. */
void fill_make_part(struct fill *f);
/* So many bytes in all are to be expected: room is taken for what comes after `from`. */
void fill_bytes_expect(struct fill *f, int64_t from, int64_t size);
/* All that came is in the part file, and can be kept. */
bool fill_bytes_are_kept(const struct fill *f);
/* The part file, which the caller commits. There is one. */
struct part *fill_bytes_hand_over(struct fill *f) must_check;
/* It stays where it is, for a later fill. */
void fill_bytes_close(struct fill *f);
void fill_bytes_discard(struct fill *f);

/* ERR_BUSY: the disk takes no more, and there is no room for a window. */
int fill_bytes_write(struct fill *f, int64_t offset, const void *data, size_t len) must_check;
/* The hasher and the work pool too, of bytes that are there. */
int fill_bytes_read(struct fill *f, int64_t offset, void *data, size_t len) must_check;
void fill_bytes_drop_consumed(struct fill *f);
void fill_bytes_truncate(struct fill *f, int64_t len);
/* The disk takes no more: bytes go to the window. */
bool fill_bytes_in_window(const struct fill *f);
/* There is a part file, whether or not the disk takes all. */
bool fill_bytes_have_part(const struct fill *f);
/* What comes before has been dropped from the window. */
int64_t fill_bytes_window_floor(const struct fill *f);

/* Any thread: a reader that begins at pos would come to bytes that have been dropped. */
bool fill_bytes_dropped(const struct fill *f, int64_t pos);
/* Any thread: there is a window, so readers tell when they have moved on. */
bool fill_bytes_want_consumed(const struct fill *f);
/* Any thread: the file that has the byte at pos, at that offset (reference given to the caller), and at most *n bytes
 * from there on. NULL: they may be gone, as the reader has said that it needs nothing below needs_from. */
struct open_file *fill_bytes_at(const struct fill *f, int64_t pos, int64_t needs_from, int64_t *n);

#endif
