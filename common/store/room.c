/* What the store takes of the disk, and how much of that is too much: bytes in whole blocks, and inodes. Thread: any
 * (atomic); room_ask_disk and room_ask_index, whoever may block. */
#include <sys/statvfs.h>

#include "common/core/clock.h"
#include "common/store/store_private.h"

#define OVERSHOOT (64 * MiB) /* or 1 % of the limit, whichever is less */
/* The index needs space for its writes even without min_free: this much is kept free, or a hundredth of the disk. */
#define INDEX_ROOM (4 * MiB)
#define INDEX_EVERY_MS 1000 /* its size is looked at that often at most */
/* Inodes that are kept free where a file system has a number of them, or a sixteenth of that number. */
#define INODES_ROOM 64
#define INODES_SHARE 16

int64_t room_on_disk(const struct store *s, int64_t len) {
    return (len + s->block - 1) / s->block * s->block;
}

/* No eviction makes the index's file smaller: one that outgrows the limit leaves half of it to blobs. */
static int64_t index_counted(const struct store *s) {
    int64_t limit = s->cfg.limit, index = s->index_on_disk;
    return limit > 0 && index > limit / 2 ? limit / 2 : index;
}

int64_t room_used(const struct store *s) {
    return s->blobs_on_disk + s->parts_on_disk + s->quarantine_on_disk + index_counted(s);
}

void room_ask_index(struct store *s) {
    int64_t now = clock_mono_ms();
    if (s->index_asked_ms && now - s->index_asked_ms < INDEX_EVERY_MS) return;
    s->index_asked_ms = now;
    s->index_on_disk = folder_overhead(s);
}

void room_ask_disk(struct store *s) {
    struct statvfs st;
    if (fstatvfs(s->dir_fd, &st) == 0) {
        s->disk_free = (int64_t)st.f_bavail * (int64_t)st.f_frsize;
        s->disk_total = (int64_t)st.f_blocks * (int64_t)st.f_frsize;
        s->inodes_free = (int64_t)st.f_favail;
        s->inodes_total = (int64_t)st.f_files;
    }
    s->since_statvfs = 0;
}

static int64_t percent(int64_t whole, int p) {
    return whole / 100 * p + whole % 100 * p / 100;
}

/* What eviction keeps free of the disk. */
static int64_t keep_free(const struct store *s) {
    int64_t room = s->disk_total / 100 < INDEX_ROOM ? s->disk_total / 100 : INDEX_ROOM;
    return s->cfg.min_free > room ? s->cfg.min_free : room;
}

/* Bytes over the mark at which eviction starts, counted to the mark at which it stops; 0: below. */
int64_t room_excess(const struct store *s, int64_t grow) {
    int64_t limit = s->cfg.limit, over = 0;
    if (limit > 0 && room_used(s) + grow > percent(limit, EVICT_START_PERCENT))
        over = room_used(s) + grow - percent(limit, EVICT_STOP_PERCENT);
    int64_t room = s->disk_free - s->since_statvfs - grow, floor = keep_free(s);
    if (room < floor) {
        int64_t want = floor + floor / 20 - room;
        if (want > over) over = want;
    }
    return over;
}

/* As many inodes as eviction keeps free. */
static int64_t inodes_kept(const struct store *s) {
    int64_t some = s->inodes_total / INODES_SHARE;
    return some < INODES_ROOM ? some : INODES_ROOM;
}

bool room_inodes_short(const struct store *s) {
    return s->inodes_total > 0 && s->inodes_free < inodes_kept(s);
}

struct room room_wanted(const struct store *s) {
    return (struct room){room_excess(s, 0), room_inodes_short(s) ? 2 * inodes_kept(s) - s->inodes_free : 0};
}

static int64_t overshoot(int64_t whole) {
    return whole / 100 < OVERSHOOT ? whole / 100 : OVERSHOOT;
}

/* Bytes over what even a running fill may take. */
int64_t room_beyond(const struct store *s, int64_t grow) {
    int64_t limit = s->cfg.limit, over = 0;
    if (limit > 0) over = room_used(s) + grow - limit - overshoot(limit);
    int64_t floor = s->cfg.min_free - overshoot(s->cfg.min_free);
    int64_t short_of = floor > 0 ? floor - (s->disk_free - s->since_statvfs - grow) : 0;
    return over > short_of ? over : short_of;
}

bool room_has_evictable(const struct store *s) {
    return s->blobs_on_disk > s->fixed_on_disk;
}

bool room_would_evict(const struct store *s, int64_t grow) {
    return room_has_evictable(s) && room_excess(s, grow) > 0;
}

/* The space that may be evicted plus what is free. */
int64_t room_largest(struct store *s) {
    room_ask_disk(s);
    int64_t limit = s->cfg.limit, room = INT64_MAX;
    if (limit > 0)
        room = percent(limit, EVICT_STOP_PERCENT) - s->fixed_on_disk - s->quarantine_on_disk - index_counted(s);
    if (s->disk_total > 0) {
        int64_t on_disk =
            s->disk_free - s->since_statvfs + s->blobs_on_disk - s->fixed_on_disk + s->parts_on_disk - s->cfg.min_free;
        if (on_disk < room) room = on_disk;
    }
    return room > 0 ? room : 0;
}

void room_count_part(struct store *s, int64_t from, int64_t to) {
    s->part_bytes += to - from;
    s->parts_on_disk += room_on_disk(s, to) - room_on_disk(s, from);
}

/* The capacity of the store, as far as it is known. */
int64_t room_capacity(const struct store *s) {
    int64_t disk = room_used(s) + s->disk_free - s->cfg.min_free;
    if (disk < 0) disk = 0;
    return s->cfg.limit > 0 && s->cfg.limit < disk ? s->cfg.limit : disk;
}

void store_usage(const struct store *s, struct store_usage *out) {
    struct statvfs st = {0};
    if (fstatvfs(s->dir_fd, &st) < 0) st = (struct statvfs){0};
    *out = (struct store_usage){
        .blobs = s->blobs,
        .bytes = s->bytes,
        .on_disk = s->blobs_on_disk,
        .manifests = s->manifests,
        .tags = tags_count(s->tags),
        .parts = s->n_parts,
        .part_bytes = s->part_bytes,
        .parts_on_disk = s->parts_on_disk,
        .quarantined = s->n_quarantined,
        .quarantine_bytes = s->quarantine_bytes,
        .rotten = atomic_load_explicit(&s->rotten, memory_order_relaxed),
        .quarantine_on_disk = s->quarantine_on_disk,
        .index_on_disk = folder_overhead(s),
        .disk_free = (int64_t)st.f_bavail * (int64_t)st.f_frsize,
        .disk_total = (int64_t)st.f_blocks * (int64_t)st.f_frsize,
        .evictions = s->evictions,
        .evicted_bytes = s->evicted_bytes,
    };
    out->used_on_disk = s->blobs_on_disk + s->parts_on_disk + s->quarantine_on_disk + out->index_on_disk;
    int64_t whole = out->used_on_disk + out->disk_free - s->cfg.min_free;
    if (whole < 0) whole = 0; /* the disk is smaller than what is to be left free */
    out->limit = s->cfg.limit > 0 && s->cfg.limit < whole ? s->cfg.limit : whole;
}
