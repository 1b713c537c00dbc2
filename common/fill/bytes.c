/* Where a fill's bytes are: in its part file, and from the moment the disk takes no more, in a memory file with the
 * same offsets whose consumed part is given back (pass-through). Thread: fetch loop; fill_bytes_read: any that knows
 * the bytes to be there. */
#include "common/fill/fill_private.h"
#include "common/store/part.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

void fill_bytes_init(struct fill *f, bool part_due) {
    f->bytes.part_due = part_due;
    atomic_init(&f->bytes.window_from, INT64_MAX);
}

void fill_bytes_init_held(struct fill *f, struct open_file *file) {
    fill_bytes_init(f, false);
    f->bytes.disk = file;
}

void fill_bytes_fini(struct fill *f) {
    open_file_unref(f->bytes.disk);
    open_file_unref(atomic_load_explicit(&f->bytes.window, memory_order_relaxed));
}

/* --- the part file --- */

/* Opens the part file. Returns the bytes that it holds already. */
static int64_t open_part(struct fill *f) {
    struct error err = {0};
    int64_t have = 0;
    f->bytes.part_due = false;
    if (part_open(f->engine->cfg.store, &f->spec.digest, &f->bytes.part, &have, &err) == 0) {
        f->bytes.disk = part_file(f->bytes.part);
        return have;
    }
    f->bytes.part = NULL;
    log_warn("fill_passes_through", KV_S("why", err.msg), KV_S("request_id", f->spec.request_id));
    return 0;
}

int64_t fill_bytes_open_left(struct fill *f) {
    bool left = f->bytes.part_due && part_exists(f->engine->cfg.store, &f->spec.digest);
    return left ? open_part(f) : 0;
}

void fill_make_part(struct fill *f) {
    if (!f->bytes.part_due || open_part(f) == 0) return;
    /* Bytes have got there meanwhile that this fill has not checked: it does not continue from them. */
    fill_bytes_truncate(f, 0);
}

void fill_bytes_expect(struct fill *f, int64_t from, int64_t size) {
    if (f->bytes.part) part_expect(f->bytes.part, from, size);
}

bool fill_bytes_have_part(const struct fill *f) {
    return f->bytes.part;
}

bool fill_bytes_are_kept(const struct fill *f) {
    return f->bytes.part && !fill_bytes_in_window(f);
}

struct part *fill_bytes_hand_over(struct fill *f) {
    struct part *part = f->bytes.part;
    f->bytes.part = NULL;
    return part;
}

void fill_bytes_close(struct fill *f) {
    if (f->bytes.part) part_close(f->bytes.part);
    f->bytes.part = NULL;
}

void fill_bytes_discard(struct fill *f) {
    if (f->bytes.part) part_discard(f->bytes.part);
    f->bytes.part = NULL;
}

/* --- the window --- */

bool fill_bytes_in_window(const struct fill *f) {
    return atomic_load_explicit(&f->bytes.window, memory_order_acquire);
}

int64_t fill_bytes_window_floor(const struct fill *f) {
    return atomic_load_explicit(&f->bytes.window_floor, memory_order_relaxed);
}

bool fill_bytes_want_consumed(const struct fill *f) {
    return atomic_load_explicit(&f->bytes.wants_consumed, memory_order_acquire);
}

struct open_file *fill_bytes_at(const struct fill *f, int64_t pos, int64_t needs_from, int64_t *n) {
    struct open_file *window = atomic_load_explicit(&f->bytes.window, memory_order_acquire);
    int64_t from = atomic_load_explicit(&f->bytes.window_from, memory_order_acquire);
    bool in_window = window && pos >= from;
    if (in_window && pos < needs_from) return NULL;
    if (window && !in_window && *n > from - pos) *n = from - pos;
    assert(in_window || f->bytes.disk);
    return open_file_ref(in_window ? window : f->bytes.disk);
}

/* Bytes from `from` on go to memory. */
static int open_window(struct fill *f, int64_t from) {
    if (!fill_window_take(f)) return ERR_BUSY;
    int fd = memfd_create("entrepot-fill", MFD_CLOEXEC);
    if (fd < 0) return -errno;
    atomic_store_explicit(&f->bytes.window_floor, from, memory_order_relaxed);
    atomic_store_explicit(&f->bytes.window_from, from, memory_order_relaxed);
    atomic_store_explicit(&f->bytes.window, open_file_new(fd), memory_order_release);
    atomic_store_explicit(&f->bytes.wants_consumed, true, memory_order_release);
    return 0;
}

static int write_fd(int fd, int64_t offset, const char *data, size_t len) {
    while (len) {
        ssize_t n = pwrite(fd, data, len, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        data += n;
        offset += n;
        len -= (size_t)n;
    }
    return 0;
}

void fill_bytes_leave_disk(struct fill *f, int code) {
    f->bytes.lost = true;
    part_unreadable(f->bytes.part, code);
}

int fill_bytes_write(struct fill *f, int64_t offset, const void *data, size_t len) {
    struct open_file *window = atomic_load_explicit(&f->bytes.window, memory_order_relaxed);
    if (!window && f->bytes.part && !f->bytes.lost) {
        int r = part_write(f->bytes.part, offset, data, len);
        if (r == 0) return 0;
        if (!fill_window_take(f)) return ERR_BUSY;
        log_warn("fill_passes_through", KV_S("why", error_name(r)), KV_S("request_id", f->spec.request_id));
    }
    if (!window) {
        /* No part file, or it takes no more. What is dropped from a window cannot be read again. */
        int r = open_window(f, offset);
        if (r < 0) return r;
        window = atomic_load_explicit(&f->bytes.window, memory_order_relaxed);
    }
    return write_fd(open_file_fd(window), offset, data, len);
}

#define READ_TRIES 3

int fill_bytes_read(struct fill *f, int64_t offset, void *data, size_t len) {
    char *out = data;
    int failed = 0;
    while (len) {
        struct open_file *window = atomic_load_explicit(&f->bytes.window, memory_order_acquire);
        int64_t from = atomic_load_explicit(&f->bytes.window_from, memory_order_acquire);
        bool in_window = window && offset >= from;
        if (!in_window && !f->bytes.disk) return ERR_INTERNAL;
        size_t want = len;
        if (window && !in_window && (int64_t)want > from - offset) want = (size_t)(from - offset);
        ssize_t n = pread(open_file_fd(in_window ? window : f->bytes.disk), out, want, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            int r = -errno;
            if (disk_is_bad(r) && ++failed < READ_TRIES) continue;
            if (!in_window && disk_is_bad(r)) open_file_fail(f->bytes.disk, r);
            return r;
        }
        if (n == 0) return ERR_CORRUPT;
        out += n;
        offset += n;
        len -= (size_t)n;
    }
    return 0;
}

#define PAGE 4096

/* Where the pages end that neither a reader nor the hasher needs any more. All of a manifest is needed until it is
 * proved, because it is then parsed as a whole. */
static int64_t not_needed_below(const struct fill *f) {
    int64_t slowest = f->spec.manifest ? 0 : check_hashed(f);
    for (struct fill_reader *r = fill_first_reader(f); r; r = r->next) {
        int64_t pos = atomic_load_explicit(&r->consumed, memory_order_seq_cst);
        if (pos < slowest) slowest = pos;
    }
    return slowest & ~(int64_t)(PAGE - 1);
}

/* Races with a reader that turns to lower bytes. The reader publishes its position and then reads the floor
 * (fill_reader_settle); this raises the floor and then reads the positions again. So either the reader sees that the
 * bytes are gone, or this sees the reader and keeps them. */
void fill_bytes_drop_consumed(struct fill *f) {
    struct open_file *window = atomic_load_explicit(&f->bytes.window, memory_order_relaxed);
    if (!window) return;
    int64_t floor = atomic_load_explicit(&f->bytes.window_floor, memory_order_relaxed), to = not_needed_below(f);
    if (to <= floor) return;
    atomic_store_explicit(&f->bytes.window_floor, to, memory_order_seq_cst);
    int64_t still = not_needed_below(f), from = floor & ~(int64_t)(PAGE - 1);
    if (still < to) to = still;
    bool dropped =
        to > floor && fallocate(open_file_fd(window), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from) == 0;
    atomic_store_explicit(&f->bytes.window_floor, dropped ? to : floor, memory_order_seq_cst);
}

bool fill_bytes_dropped(const struct fill *f, int64_t pos) {
    if (f->bytes.disk && open_file_failure(f->bytes.disk)) return true; /* one client's answer was cut by it */
    if (!atomic_load_explicit(&f->bytes.window, memory_order_acquire)) return false;
    int64_t floor = atomic_load_explicit(&f->bytes.window_floor, memory_order_seq_cst);
    return pos < floor && floor > atomic_load_explicit(&f->bytes.window_from, memory_order_acquire);
}

void fill_bytes_truncate(struct fill *f, int64_t len) {
    struct open_file *window = atomic_load_explicit(&f->bytes.window, memory_order_relaxed);
    if (window) {
        if (ftruncate(open_file_fd(window), len) < 0) log_warn("window_truncate_failed", KV_I("errno", errno));
        if (atomic_load_explicit(&f->bytes.window_floor, memory_order_relaxed) > len)
            atomic_store_explicit(&f->bytes.window_floor, len, memory_order_release);
        if (len < atomic_load_explicit(&f->bytes.window_from, memory_order_relaxed)) {
            atomic_store_explicit(&f->bytes.window_from, len, memory_order_release);
        }
        fill_window_settle(f);
    } else if (f->bytes.part) {
        int r = part_truncate(f->bytes.part, len);
        if (r < 0) log_warn("part_truncate_failed", KV_S("why", error_name(r)));
    }
}
