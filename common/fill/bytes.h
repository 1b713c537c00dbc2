/* Where a fill's bytes are: on disk, or in the window if the disk is full. Only bytes.c touches the fields. Thread:
 * fetch loop, unless a function says otherwise. */
#ifndef ENTREPOT_FILL_BYTES_H
#define ENTREPOT_FILL_BYTES_H

#include <stdatomic.h>

#include "common/core/open_file.h"
#include "common/fill/fill.h"
#include "common/store/part.h"

struct bytes {
    bool part_due; /* there is no part file yet */
    bool lost;     /* the part file does not give back what was written: nothing more is written to it */
    struct part *part;
    /* Read by readers' loops. */
    struct open_file *disk;             /* set once, before anything is visible; NULL: all in the window */
    _Atomic(struct open_file *) window; /* set once: a memory file with the same offsets, from window_from on */
    _Atomic int64_t window_from;
    _Atomic int64_t window_floor; /* up to here bytes have been dropped; raised before they are dropped */
    atomic_bool wants_consumed;   /* readers report when they have moved on */
};

void fill_bytes_init(struct fill *f, bool part_due);
/* file: the committed blob; reference taken over. */
void fill_bytes_init_held(struct fill *f, struct open_file *file);
void fill_bytes_fini(struct fill *f);

/* Opens the part file if one is there. Returns how many bytes it has. */
int64_t fill_bytes_open_left(struct fill *f);
/* Makes the part file if there is none yet, because bytes will follow. */
void fill_make_part(struct fill *f);
/* Tells how many bytes to expect in all; disk space is reserved for those after `from`. */
void fill_bytes_expect(struct fill *f, int64_t from, int64_t size);
/* True if all bytes so far are in the part file and can be kept. */
bool fill_bytes_are_kept(const struct fill *f);
/* The part file, which must exist; the caller commits it. */
struct part *fill_bytes_hand_over(struct fill *f) must_check;
/* Closes the part file and keeps it for a later fill. */
void fill_bytes_close(struct fill *f);
void fill_bytes_discard(struct fill *f);

/* The disk does not give back what was written (code): what is written from now on goes to the window. */
void fill_bytes_leave_disk(struct fill *f, int code);
/* Writes. ERR_BUSY: the disk is full and there is no budget for a window. */
int fill_bytes_write(struct fill *f, int64_t offset, const void *data, size_t len) must_check;
/* Reads bytes that have been written; a failure of the disk may pass, so it is tried three times. Also from the hasher
 * and the work pool. */
int fill_bytes_read(struct fill *f, int64_t offset, void *data, size_t len) must_check;
void fill_bytes_drop_consumed(struct fill *f);
void fill_bytes_truncate(struct fill *f, int64_t len);
/* True if the disk is full and bytes go to the window. */
bool fill_bytes_in_window(const struct fill *f);
/* True if there is a part file, even if the disk is full now. */
bool fill_bytes_have_part(const struct fill *f);
/* Bytes before this position have been dropped from the window. */
int64_t fill_bytes_window_floor(const struct fill *f);

/* Any thread. True if a reader that begins at pos would reach bytes that have been dropped. */
bool fill_bytes_dropped(const struct fill *f, int64_t pos);
/* Any thread. True if there is a window, so that readers must report when they have moved on. */
bool fill_bytes_want_consumed(const struct fill *f);
/* Any thread. The file that has the byte at pos, at that offset (a reference for the caller), and at most *n bytes from
 * there. NULL: they may have been dropped, because the reader said that it needs nothing below needs_from. */
struct open_file *fill_bytes_at(const struct fill *f, int64_t pos, int64_t needs_from, int64_t *n);

#endif
