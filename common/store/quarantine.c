/* Blobs whose bytes were wrong: the newest few are kept so that they can be examined. Thread: work pool, or a
 * command. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

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
    int64_t kept = 0, bytes = 0, on_disk = 0;
    if (n) qsort(all, n, sizeof(*all), newest_first);
    for (size_t i = 0; i < n; i++) {
        bool keep = kept == 0 || (kept < QUARANTINE_FILES && bytes + all[i].size <= QUARANTINE_BYTES);
        if (!keep && unlinkat(fd, all[i].name, 0) == 0) {
            log_warn("quarantine_dropped", KV_S("name", all[i].name), KV_I("bytes", all[i].size));
            continue;
        }
        kept++;
        bytes += all[i].size;
        on_disk += room_on_disk(s, all[i].size);
    }
    s->n_quarantined = kept;
    s->quarantine_bytes = bytes;
    s->quarantine_on_disk = on_disk;
    free(all);
    if (dir) closedir(dir);
    pthread_mutex_unlock(&s->quarantine_lock);
}

void store_quarantine_look(struct store *s) {
    quarantine_bound(s);
}

static bool make_folder(struct store *s) {
    if (mkdirat(s->dir_fd, "quarantine", 0700) == 0 || errno == EEXIST) return true;
    bool room = (errno == ENOSPC || errno == EDQUOT) && space_make_room(s, MiB);
    return room && mkdirat(s->dir_fd, "quarantine", 0700) == 0;
}

int quarantine_take(struct store *s, const struct digest *d, struct error *err) {
    char to[STORE_PATH_MAX], hex[DIGEST_STR_MAX], name[DIGEST_STR_MAX];
    /* Without the folder the move fails and logs why. The wrong blob is not served in any case. */
    if (!make_folder(s)) log_warn("quarantine_not_made", KV_S("why", error_name(-errno)));
    snprintf(to, sizeof(to), "quarantine/%s-%s", digest_alg_name(d->alg), digest_hex(d, hex));
    pthread_mutex_t *stripe = folder_stripe(s, d);
    pthread_mutex_lock(stripe);
    char from[STORE_PATH_MAX];
    folder_blob_path(d, from);
    int r = held_discard(s, d, to);
    if (r == ERR_NOT_FOUND) r = renameat(s->dir_fd, from, s->dir_fd, to) < 0 && errno != ENOENT ? -errno : 0;
    pthread_mutex_unlock(stripe);
    quarantine_bound(s);
    if (r < 0) {
        log_error("quarantine_failed", KV_S("digest", digest_str(d, name)), KV_S("why", error_name(r)));
        return error_set(err, r, "moving %s to %s/quarantine: %s", digest_str(d, name), s->dir, error_name(r));
    }
    log_error("blob_quarantined", KV_S("digest", digest_str(d, name)), KV_S("to", to));
    return 0;
}
