/* Whole-file and folder operations. Thread: any that may block. */
#include "common/core/file.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool file_is_special(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

int file_read_all(const char *path, size_t limit, char **data, size_t *len, struct error *err) {
    return file_read_all_at(AT_FDCWD, path, path, limit, data, len, err);
}

int file_read_all_at(int folder, const char *name, const char *path, size_t limit, char **data, size_t *len,
                     struct error *err) {
    _cleanup_(closep) int fd =
        openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a FIFO must not block */
    if (fd < 0) return error_errno(err, "opening %s", path);
    struct stat st;
    if (fstat(fd, &st) < 0) return error_errno(err, "reading %s", path);
    if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) return error_set(err, ERR_INVALID, "%s is not a file", path);
    size_t cap = limit < 65536 ? limit + 1 : 65536, n = 0;
    _cleanup_(freep) char *buf = xmalloc(cap + 1);
    for (;;) {
        if (n == cap) {
            if (n > limit) return error_set(err, ERR_TOO_BIG, "%s is larger than %zu bytes", path, limit);
            cap = cap * 2 > limit + 1 ? limit + 1 : cap * 2;
            char *more = xrealloc(buf, cap + 1, 1);
            buf = more;
        }
        ssize_t r = read(fd, buf + n, cap - n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return error_errno(err, "reading %s", path);
        if (r == 0) break;
        n += (size_t)r;
        if (n > limit) return error_set(err, ERR_TOO_BIG, "%s is larger than %zu bytes", path, limit);
    }
    buf[n] = '\0';
    *data = buf;
    *len = n;
    buf = NULL;
    return 0;
}

static int write_fully(int fd, const char *data, size_t len) {
    while (len) {
        ssize_t r = write(fd, data, len);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        data += r;
        len -= (size_t)r;
    }
    return 0;
}

/* Behind a name that mkostemps chooses: no file of ours or of an operator is called so by chance. */
#define UNFINISHED ".tmp"
#define UNFINISHED_OLD_S 60

int file_write_atomic(const char *path, mode_t mode, const void *data, size_t len, struct error *err) {
    char tmp[4096];
    if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX" UNFINISHED, path) >= (int)sizeof(tmp)) {
        return error_set(err, ERR_INVALID, "path too long: %s", path);
    }
    _cleanup_(closep) int fd = mkostemps(tmp, (int)strlen(UNFINISHED), O_CLOEXEC);
    if (fd < 0) return error_errno(err, "creating %s", tmp);
    if (fchmod(fd, mode) < 0 || write_fully(fd, data, len) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0) {
        int r = error_errno(err, "writing %s", path);
        unlink(tmp);
        return r;
    }
    return 0;
}

/* NAME.XXXXXX.tmp */
static bool is_unfinished(const char *name) {
    size_t len = strlen(name), end = strlen(UNFINISHED);
    return len > end + 7 && strcmp(name + len - end, UNFINISHED) == 0 && name[len - end - 7] == '.';
}

void dir_remove_unfinished(const char *path) {
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (!is_unfinished(e->d_name) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        bool old = clock_wall_s() - st.st_mtim.tv_sec >= UNFINISHED_OLD_S; /* no other process is writing it */
        if (S_ISREG(st.st_mode) && old && unlinkat(dirfd(d), e->d_name, 0) < 0)
            errno = 0; /* it stays until next time */
    }
    closedir(d);
}

int dir_make_all(const char *path, mode_t mode, struct error *err) {
    char part[4096];
    size_t len = strlen(path);
    if (len >= sizeof(part)) return error_set(err, ERR_INVALID, "path too long: %s", path);
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        char saved = part[i];
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST) return error_errno(err, "making folder %s", part);
        part[i] = saved;
    }
    struct stat st;
    if (stat(path, &st) < 0) return error_errno(err, "folder %s", path);
    if (!S_ISDIR(st.st_mode)) return error_set(err, ERR_INVALID, "%s is not a folder", path);
    return 0;
}

int dir_give_away(const char *path, const char *owner_of, struct error *err) {
    struct stat owner;
    if (geteuid() != 0) return 0;
    if (stat(owner_of, &owner) < 0) return error_errno(err, "opening %s", owner_of);
    char *const paths[] = {(char *)(uintptr_t)path, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    if (!walk) return error_errno(err, "reading %s", path);
    int r = 0;
    for (FTSENT *e; r == 0 && (e = fts_read(walk));)
        if (e->fts_info != FTS_DP && lchown(e->fts_path, owner.st_uid, owner.st_gid) < 0)
            r = error_errno(err, "giving %s to the owner of %s", e->fts_path, owner_of);
    fts_close(walk);
    return r;
}

int dir_remove_files(const char *path, struct error *err) {
    DIR *d = opendir(path);
    if (!d) return errno == ENOENT ? 0 : error_errno(err, "opening %s", path);
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        bool dots = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        if (!dots && unlinkat(dirfd(d), e->d_name, 0) < 0) r = error_errno(err, "removing %s/%s", path, e->d_name);
    }
    closedir(d);
    return r == 0 && rmdir(path) < 0 ? error_errno(err, "removing %s", path) : r;
}
