/* Reading every blob again and comparing with its name; making the index again from the folder. Thread: work pool, or a
 * command. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/log.h"
#include "common/core/alloc.h"
#include "common/store/store_private.h"

#define READ_SIZE MiB

/* 0 fine, ERR_MISMATCH, ERR_NOT_FOUND, ERR_CANCELLED, -errno. Not through the descriptor cache: this is no use of the
 * blob. */
static int check(struct store *s, const struct digest *d, const struct table_value *v, char *buf, int64_t *bytes) {
    char path[STORE_PATH_MAX];
    store_blob_path(d, path);
    _cleanup_(closep) int fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : errno == ELOOP || errno == ENXIO ? ERR_MISMATCH : -errno;
    struct stat st;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) return ERR_MISMATCH;
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
    bool whole = h.len == (uint64_t)v->size;
    hasher_final(&h, &is);
    return whole && digest_eq(&is, d) ? 0 : ERR_MISMATCH;
}

/* --- quarantine: the newest few, for whoever wants to see what has become of them --- */

#define QUARANTINE_FILES 16
#define QUARANTINE_BYTES GiB /* but for the newest */

struct quarantined {
    struct timespec since;
    int64_t size;
    char name[256];
};

static int newest_first(const void *a, const void *b) {
    const struct timespec *x = &((const struct quarantined *)a)->since, *y = &((const struct quarantined *)b)->since;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? 1 : -1;
    return (x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

/* The caller frees. */
static struct quarantined *list_quarantine(DIR *dir, size_t *n) {
    struct quarantined *all = NULL;
    struct stat st;
    size_t cap = 0;
    *n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) continue;
        if (*n == cap) {
            cap = cap ? 2 * cap : QUARANTINE_FILES + 1;
            all = xrealloc(all, cap, sizeof(*all));
        }
        all[*n] = (struct quarantined){st.st_ctim, st.st_size, ""}; /* ctime: since it was moved there */
        snprintf(all[(*n)++].name, sizeof(all->name), "%s", e->d_name);
    }
    return all;
}

void quarantine_bound(struct store *s) {
    pthread_mutex_lock(&s->quarantine_lock);
    int fd = openat(s->dir_fd, "quarantine", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t n = 0;
    struct quarantined *all = dir ? list_quarantine(dir, &n) : NULL;
    int64_t kept = 0, bytes = 0;
    if (n) qsort(all, n, sizeof(*all), newest_first);
    for (size_t i = 0; i < n; i++) {
        bool keep = kept == 0 || (kept < QUARANTINE_FILES && bytes + all[i].size <= QUARANTINE_BYTES);
        if (!keep && unlinkat(fd, all[i].name, 0) == 0) {
            log_warn("quarantine_dropped", KV_S("name", all[i].name), KV_I("bytes", all[i].size));
            continue;
        }
        kept++;
        bytes += all[i].size;
    }
    s->n_quarantined = kept;
    s->quarantine_bytes = bytes;
    free(all);
    if (dir) closedir(dir);
    pthread_mutex_unlock(&s->quarantine_lock);
}

static int quarantine(struct store *s, const struct digest *d, struct error *err) {
    char to[STORE_PATH_MAX], hex[DIGEST_STR_MAX], name[DIGEST_STR_MAX];
    if (mkdirat(s->dir_fd, "quarantine", 0700) < 0 && errno != EEXIST)
        return error_errno(err, "making %s/quarantine", s->dir);
    snprintf(to, sizeof(to), "quarantine/%s-%s", digest_alg_name(d->alg), digest_hex(d, hex));
    pthread_mutex_t *stripe = store_stripe(s, d);
    pthread_mutex_lock(stripe);
    held_discard(s, d, to);
    pthread_mutex_unlock(stripe);
    quarantine_bound(s);
    log_error("blob_quarantined", KV_S("digest", digest_str(d, name)), KV_S("to", to));
    return 0;
}

static int verify_one(struct store *s, const struct digest *d, const struct table_value *v, char *buf,
                      struct verify_report *out, struct error *err) {
    int r = check(s, d, v, buf, &out->bytes);
    char name[DIGEST_STR_MAX];
    if (r == 0 || r == ERR_MISMATCH) out->checked++;
    /* Evicted while we were at it, or missing and found so by the reconciliation that ran before. */
    if (r == 0 || r == ERR_NOT_FOUND || r == ERR_CANCELLED) return 0;
    if (out->bad < VERIFY_NAMED_MAX) out->named[out->bad] = *d;
    out->bad++;
    if (r == ERR_MISMATCH) return quarantine(s, d, err);
    log_error("blob_unreadable", KV_S("digest", digest_str(d, name)), KV_S("why", error_name(r)));
    return 0;
}

int store_recheck(struct store *s, const struct digest *d) {
    struct table_value v;
    if (!table_find(s->table, d, &v)) return ERR_NOT_FOUND;
    _cleanup_(freep) char *buf = malloc(READ_SIZE);
    if (!buf) return -ENOMEM;
    int64_t bytes = 0;
    int r = check(s, d, &v, buf, &bytes);
    if (r != ERR_MISMATCH && r != -EIO) return r;
    if (v.flags & BLOB_HOSTED) {
        struct error err = {0};
        r = quarantine(s, d, &err);
        return r < 0 ? r : ERR_MISMATCH;
    }
    char name[DIGEST_STR_MAX];
    pthread_mutex_t *stripe = store_stripe(s, d);
    pthread_mutex_lock(stripe);
    held_discard(s, d, NULL);
    pthread_mutex_unlock(stripe);
    log_error("blob_rotten", KV_S("digest", digest_str(d, name)), KV_S("why", error_name(r)));
    return ERR_MISMATCH;
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
        int r = verify_one(s, &d, &v, buf, out, err);
        if (r < 0) return r;
        if (progress && !progress(out, total, arg)) break;
    }
    writer_flush(s->writer);
    return 0;
}

int store_rebuild(const char *dir,
                  int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children,
                                 size_t *n),
                  struct verify_report *out, struct error *err) {
    struct store_config cfg = {.dir = dir, .inspect = inspect};
    struct store *s;
    *out = (struct verify_report){0};
    int r = store_open_with(&s, &cfg, true, err);
    if (r < 0) return r;
    store_wait_reconciled(s);
    out->adopted = s->adopted;
    out->checked = s->blobs;
    out->bytes = s->bytes;
    store_close(s);
    return 0;
}
