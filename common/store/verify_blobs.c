/* Reading every blob again and comparing with its name. Thread: work pool, or a command. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/log.h"
#include "common/core/alloc.h"
#include "common/store/store_private.h"

#define READ_SIZE MiB
#define KEPT_READINGS 3

/* 0 fine, ERR_MISMATCH, ERR_NOT_FOUND, ERR_CANCELLED, -errno. Not through the descriptor cache: this is no use of the
 * blob. size -1: any. cold: from the disk, not from memory. */
static int read_once(struct store *s, const struct digest *d, int64_t size, bool cold, char *buf, int64_t *bytes) {
    char path[STORE_PATH_MAX];
    folder_blob_path(d, path);
    _cleanup_(closep) int fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : errno == ELOOP || errno == ENXIO ? ERR_MISMATCH : -errno;
    struct stat st;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) return ERR_MISMATCH;
    if (cold) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    struct hasher h;
    hasher_init(&h, d->alg);
    for (;;) {
        ssize_t n = read(fd, buf, READ_SIZE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) break;
        if (s->stopping) return ERR_CANCELLED;
        hasher_update(&h, buf, (size_t)n);
        *bytes += n;
    }
    struct digest is;
    bool whole = size < 0 || h.len == (uint64_t)size;
    hasher_final(&h, &is);
    return whole && digest_eq(&is, d) ? 0 : ERR_MISMATCH;
}

/* Wrong bytes that nobody could give back must be certain: one reading of a disk in trouble is not. */
static int check(struct store *s, const struct digest *d, int64_t size, bool kept, char *buf, int64_t *bytes) {
    int64_t again = 0;
    int r = read_once(s, d, size, false, buf, bytes);
    for (int i = 1; kept && r == ERR_MISMATCH && i < KEPT_READINGS; i++)
        r = read_once(s, d, size, true, buf, &again);
    return r;
}

static void verify_one(struct store *s, const struct digest *d, const struct table_value *v, char *buf,
                       struct verify_report *out) {
    int r = check(s, d, v->size, guard_keeps(s, d, v->flags), buf, &out->bytes);
    if (r == 0 || r == ERR_MISMATCH) out->checked++;
    /* Evicted while we were at it, or missing and found so by the reconciliation that ran before. */
    if (r == 0 || r == ERR_NOT_FOUND || r == ERR_CANCELLED) return;
    if (out->bad < VERIFY_NAMED_MAX) out->named[out->bad] = *d;
    out->bad++;
    if (r == ERR_MISMATCH) atomic_fetch_add_explicit(&s->rotten, 1, memory_order_relaxed);
    if (r != ERR_MISMATCH) {
        out->unreadable++;
        snprintf(out->why_unreadable, sizeof(out->why_unreadable), "%s", error_name(r));
        store_unreadable(s, d, NULL, r);
        return;
    }
    struct error err = {0};
    if (quarantine_take(s, d, &err) == 0) {
        out->moved++;
        return;
    }
    out->not_moved++;
    snprintf(out->why_not_moved, sizeof(out->why_not_moved), "%s", error_name(err.code));
}

int store_recheck(struct store *s, const struct digest *d) {
    struct table_value v;
    if (!table_find(s->table, d, &v)) return ERR_NOT_FOUND;
    _cleanup_(freep) char *buf = malloc(READ_SIZE);
    if (!buf) return -ENOMEM;
    int64_t bytes = 0;
    bool kept = guard_keeps(s, d, v.flags);
    int r = check(s, d, v.size, kept, buf, &bytes);
    char name[DIGEST_STR_MAX];
    if (disk_is_bad(r)) return store_unreadable(s, d, NULL, r) ? ERR_MISMATCH : r;
    if (r != ERR_MISMATCH) return r;
    atomic_fetch_add_explicit(&s->rotten, 1, memory_order_relaxed);
    if (kept) {
        struct error err = {0};
        r = quarantine_take(s, d, &err);
        return r < 0 ? r : ERR_MISMATCH;
    }
    pthread_mutex_t *stripe = folder_stripe(s, d);
    pthread_mutex_lock(stripe);
    int gone = held_discard(s, d, NULL);
    (void)gone; /* logged, and served no more in any case */
    pthread_mutex_unlock(stripe);
    log_error("blob_rotten", KV_S("digest", digest_str(d, name)), KV_S("why", error_name(r)));
    return ERR_MISMATCH;
}

int store_check_file(struct store *s, const struct digest *d, int64_t size) {
    _cleanup_(freep) char *buf = malloc(READ_SIZE);
    if (!buf) return -ENOMEM;
    int64_t bytes = 0;
    struct error err = {0};
    int r = check(s, d, size, true, buf, &bytes);
    if (r == ERR_MISMATCH && quarantine_take(s, d, &err) < 0) log_error("quarantine_failed", KV_S("why", err.msg));
    return r;
}

int store_verify(struct store *s, bool (*progress)(const struct verify_report *so_far, int64_t total_bytes, void *arg),
                 void *arg, struct verify_report *out, struct error *err) {
    *out = (struct verify_report){0};
    store_wait_reconciled(s);
    out->adopted = s->adopted;
    reconcile(s, &out->missing, &out->adopted);
    int64_t total = s->bytes;
    _cleanup_(freep) char *buf = malloc(READ_SIZE);
    if (!buf) return error_set(err, -ENOMEM, "verifying");
    for (uint32_t id = 1, end = table_end(s->table); id < end; id++) {
        struct digest d;
        struct table_value v;
        if (!table_get(s->table, id, &d, &v)) continue;
        verify_one(s, &d, &v, buf, out);
        if (progress && !progress(out, total, arg)) break;
    }
    writer_flush(s->writer);
    return 0;
}
