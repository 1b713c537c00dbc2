/* Copies files and databases, and syncs them. Thread: main of a command. */
#include "central/backup/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/core/digest.h"
#include "common/core/hex.h"
#include "common/db/db.h"

#define CHUNK ((size_t)MiB)

int copy_sync_dir(const char *path, struct error *err) {
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : error_errno(err, "syncing %s", path);
}

static int copy_bytes(int from, int to) {
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, CHUNK, 0);
        if (n == 0) return 0;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
    }
    /* Between file systems that cannot do that, go on from where it ended. */
    char chunk[16 * 1024];
    for (;;) {
        ssize_t n = read(from, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return (int)n;
        for (ssize_t done = 0; done < n;) {
            ssize_t w = write(to, chunk + done, (size_t)(n - done));
            if (w < 0 && errno != EINTR) return -1;
            if (w > 0) done += w;
        }
    }
}

int copy_file(const char *from, const char *to, mode_t mode, bool link_too, struct error *err) {
    _cleanup_(closep) int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (in < 0) return error_errno(err, "opening %s", from);
    struct stat st;
    if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(err, ERR_INVALID, "%s is not a regular file", from);
    _cleanup_(closep) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out < 0) return error_errno(err, "creating %s", to);
    if (ioctl(out, FICLONE, in) < 0) {
        if (link_too && unlink(to) == 0 && link(from, to) == 0) return 0;
        if (link_too && access(to, F_OK) < 0) return copy_file(from, to, mode, false, err);
        if (copy_bytes(in, out) < 0) return error_errno(err, "copying %s to %s", from, to);
    }
    return fsync(out) == 0 ? 0 : error_errno(err, "syncing %s", to);
}

/* --- databases --- */

static int run_backup(sqlite3 *from, sqlite3 *to, struct error *err) {
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b) return db_error(to, err, "beginning the copy");
    int rc;
    do {
        rc = sqlite3_backup_step(b, -1);
        if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) sqlite3_sleep(10);
    } while (rc == SQLITE_BUSY || rc == SQLITE_LOCKED);
    int end = sqlite3_backup_finish(b);
    return rc == SQLITE_DONE && end == SQLITE_OK ? 0 : db_error(to, err, "copying");
}

int copy_database(const char *from, const char *to, struct error *err) {
    sqlite3 *in = NULL, *out = NULL;
    int r = db_open(&in, from, SQLITE_OPEN_READWRITE, err);
    if (r == 0) db_keep_log(in);
    if (r == 0) r = db_open(&out, to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (r == 0) r = run_backup(in, out, err);
    /* One file, without a log beside it. */
    if (r == 0 && sqlite3_exec(out, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL) != SQLITE_OK)
        r = db_error(out, err, "finishing the copy");
    sqlite3_close(out);
    sqlite3_close(in);
    return r < 0 ? error_wrap(err, "%s", from) : 0;
}

int copy_hash(const char *path, char hex[COPY_HEX_MAX], int64_t *size, struct error *err) {
    char chunk[16 * 1024];
    struct hasher h;
    struct digest d;
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return error_errno(err, "opening %s", path);
    hasher_init(&h, DIGEST_SHA256);
    *size = 0;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(err, "reading %s", path);
        if (n == 0) break;
        hasher_update(&h, chunk, (size_t)n);
        *size += n;
    }
    hasher_final(&h, &d);
    hex_write(d.bytes, 32, hex);
    return 0;
}
