/* A part file: a blob that is being written by one user at a time (its fill). Thread: its user's. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

/* Disk space is reserved this far ahead. ext4 then need not allocate page by page, which is a third of the cost of
 * writing (100 MB: 27 ms, with reserved space 18 ms). */
#define RESERVE_STEP (16 * MiB)
/* Reserved space is not counted, so it is small compared with the store's limit however many fills run. */
#define RESERVE_SHARE 64
#define RESERVE_FROM (1 * MiB) /* the first bytes do not wait for it, and small blobs do not need it */
/* With less free space nothing is reserved. */
#define RESERVE_FREE_MIN (2 * GiB)

/* For a blob of unknown length: bytes written between two checks of the space. */
#define UNTOLD_STEP (64 * KiB)

#define ROOM_TRIES 4

static struct part *part_new(struct store *s, const struct digest *d) {
    struct part *p = xcalloc(1, sizeof(*p));
    p->store = s;
    p->digest = *d;
    return p;
}

static int try_open(struct part *p, int flags) {
    return openat(p->store->dir_fd, p->path, flags | O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int open_file_of(struct part *p, int flags, struct error *err) {
    int fd = try_open(p, flags);
    for (int i = 0; fd < 0 && (errno == ENOSPC || errno == EDQUOT) && i < ROOM_TRIES; i++) {
        if (!space_make_room(p->store, MiB)) {
            errno = ENOSPC;
            break;
        }
        fd = try_open(p, flags);
    }
    /* If the process was killed between the last sync and the move into blobs/, the file is read-only already. */
    if (fd < 0 && errno == EACCES && fchmodat(p->store->dir_fd, p->path, 0600, 0) == 0) fd = try_open(p, flags);
    if (fd < 0) {
        int r = error_errno(err, "opening %s/%s", p->store->dir, p->path);
        trouble_note(p->store, "opening a part file", r);
        return r;
    }
    space_count_file(p->store);
    p->file = open_file_new(fd);
    return 0;
}

/* The end of the contiguous bytes: the end of the file, or a hole that a file system check or a power cut has made. */
static int64_t contiguous(const struct part *p) {
    off_t hole = lseek(open_file_fd(p->file), 0, SEEK_HOLE);
    return hole < 0 || hole > p->len ? p->len : hole;
}

int part_open(struct store *s, const struct digest *d, struct part **out, int64_t *have, struct error *err) {
    int64_t known = 0;
    int r = parts_claim(s, d, &known);
    if (r < 0) return error_set(err, r, "this blob is being written already");
    struct part *p = part_new(s, d);
    folder_part_path(d, p->path);
    r = open_file_of(p, 0, err);
    struct stat st = {0};
    if (r == 0 && fstat(open_file_fd(p->file), &st) < 0) r = error_errno(err, "reading the size of %s", p->path);
    if (r < 0) {
        parts_unclaim(s, d, known ? known : -1);
        open_file_unref(p->file);
        free(p);
        return r;
    }
    fchmod(open_file_fd(p->file), 0600);
    p->len = st.st_size;
    room_count_part(s, known, p->len);
    *have = contiguous(p);
    *out = p;
    return 0;
}

int part_new_temp(struct store *s, const struct digest *d, struct part **out, struct error *err) {
    struct part *p = part_new(s, d);
    p->temp = true;
    snprintf(p->path, sizeof(p->path), "fills/put-%llu.tmp", (unsigned long long)s->next_temp++);
    int r = open_file_of(p, O_TRUNC, err);
    if (r < 0) {
        free(p);
        return r;
    }
    *out = p;
    return 0;
}

struct open_file *part_file(struct part *p) {
    return open_file_ref(p->file);
}

static bool disk_full(int e) {
    return e == ENOSPC || e == EDQUOT || e == EFBIG;
}

/* On ENOSPC, evicts a little and tries again a few times; then gives up. */
static int write_all(struct part *p, int64_t offset, const char *data, size_t len) {
    for (int evictions = 0; len > 0;) {
        ssize_t n = pwrite(open_file_fd(p->file), data, len, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && !disk_full(errno)) return -errno;
        if (n <= 0) {
            if (evictions++ == ROOM_TRIES || !space_make_room(p->store, (int64_t)len + MiB)) return ERR_NO_SPACE;
            continue;
        }
        data += n;
        len -= (size_t)n;
        offset += n;
    }
    return 0;
}

/* Gives back space reserved beyond the end. */
static void trim(struct part *p) {
    if (p->reserved > p->len && ftruncate(open_file_fd(p->file), p->len) < 0)
        log_warn("part_trim_failed", KV_S("path", p->path), KV_S("why", error_name(-errno)));
    p->reserved = p->len;
}

/* Nothing is evicted for a blob that cannot stay. */
static void refuse(struct part *p, int64_t size, int64_t largest) {
    char name[DIGEST_STR_MAX];
    if (p->refused) return;
    p->refused = true;
    log_warn(
        "blob_not_kept", KV_S("digest", digest_str(&p->digest, name)), KV_I("size", size),
        KV_I("largest_that_fits", largest), KV_I("limit", p->store->cfg.limit),
        KV_S("why",
             "it is larger than the store may be: it is passed through and not kept, and nothing is evicted for it"));
}

void part_expect(struct part *p, int64_t from, int64_t size) {
    struct store *s = p->store;
    int64_t on_disk = room_on_disk(s, size);
    bool over = s->cfg.limit > 0 && on_disk > s->cfg.limit;
    int64_t largest = over || room_would_evict(s, on_disk) ? room_largest(s) : INT64_MAX;
    if (on_disk > largest) refuse(p, size, largest);
    if (p->reserved > size) trim(p);
    p->expected = size;
    if (p->reserved < from) p->reserved = from;
}

/* Reserves without changing the file's length, so that a length found after a crash is right. If the file system cannot
 * do this, it is not tried again. */
static void reserve_ahead(struct part *p, int64_t offset, int64_t end) {
    if (end <= p->reserved || offset > p->reserved || end >= p->expected) return;
    if (end < RESERVE_FROM) {
        p->reserved = end;
        return;
    }
    const struct store *s = p->store;
    int64_t step =
        s->cfg.limit > 0 && s->cfg.limit / RESERVE_SHARE < RESERVE_STEP ? s->cfg.limit / RESERVE_SHARE : RESERVE_STEP;
    int64_t to = end + step < p->expected ? end + step : p->expected;
    if (s->disk_free - s->since_statvfs - s->cfg.min_free < RESERVE_FREE_MIN) return;
    if (fallocate(open_file_fd(p->file), FALLOC_FL_KEEP_SIZE, p->reserved, to - p->reserved) == 0)
        p->reserved = to;
    else
        p->expected = 0;
}

int part_write(struct part *p, int64_t offset, const void *data, size_t len) {
    if (offset < 0 || offset > TABLE_SIZE_MAX - (int64_t)len) return ERR_TOO_BIG;
    int64_t end = offset + (int64_t)len, grow = end > p->len ? end - p->len : 0;
    /* Beside others, one whose length nobody has told takes half of what there is: it could as well be endless. */
    if (p->expected == 0 && end > p->untold_checked + UNTOLD_STEP && room_has_evictable(p->store)) {
        int64_t half = room_largest(p->store) / 2;
        if (end > half) refuse(p, end, half);
        p->untold_checked = end;
    }
    if (p->refused) return ERR_NO_SPACE;
    if (grow) {
        int r = space_reserve(p->store, p->len, end);
        if (r < 0) return r;
        p->len = end;
    }
    reserve_ahead(p, offset, end);
    int r = write_all(p, offset, data, len);
    if (r < 0) trouble_note(p->store, "writing", r);
    if (r == 0 || grow == 0) return r;
    struct stat st;
    if (fstat(open_file_fd(p->file), &st) == 0) {
        room_count_part(p->store, p->len, st.st_size);
        p->len = st.st_size;
    }
    return r;
}

int part_truncate(struct part *p, int64_t len) {
    if (ftruncate(open_file_fd(p->file), len) < 0) return disk_full(errno) ? ERR_NO_SPACE : -errno;
    room_count_part(p->store, p->len, len);
    p->len = p->reserved = len;
    return 0;
}

void part_unreadable(struct part *p, int code) {
    trouble_note(p->store, "reading a download", code);
}

static void part_free(struct part *p) {
    open_file_unref(p->file);
    free(p);
}

void part_discard(struct part *p) {
    if (unlinkat(p->store->dir_fd, p->path, 0) < 0 && errno != ENOENT)
        log_warn("part_unlink_failed", KV_S("path", p->path), KV_S("why", error_name(-errno)));
    room_count_part(p->store, p->len, 0);
    if (!p->temp) parts_unclaim(p->store, &p->digest, -1);
    part_free(p);
}

void part_close(struct part *p) {
    /* Nothing to go on from: anybody could ask for names without end, and each would leave a file; and what the disk
     * does not give back is of no use to anybody. */
    if (p->len == 0 || open_file_failure(p->file)) {
        part_discard(p);
        return;
    }
    trim(p);
    parts_unclaim(p->store, &p->digest, p->len);
    part_free(p);
}

void part_moved(struct part *p) {
    /* Still there under its own name: the commit failed. */
    if (faccessat(p->store->dir_fd, p->path, F_OK, 0) == 0 && !p->temp)
        part_close(p);
    else
        part_discard(p);
}
