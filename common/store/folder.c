/* The store's folder: where files stand in it, who may use it, and moving a finished file in. Thread: any, but for what
 * is marked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/core/file.h"
#include "common/core/log.h"
#include "common/store/report.h"
#include "common/store/store_private.h"

/* For the folder, and twice the unit's name, in the hint that tells how to let a unit write. */
#define UNIT_HINT_ROOM 70
#define MOVE_TRIES 4
#define BLOCK_MAX (64 * KiB)
#define BLOCK_USUAL 4096

void folder_blob_path(const struct digest *d, char out[STORE_PATH_MAX]) {
    char hex[DIGEST_STR_MAX];
    digest_hex(d, hex);
    snprintf(out, STORE_PATH_MAX, "blobs/%s/%.2s/%s", digest_alg_name(d->alg), hex, hex);
}

void folder_part_path(const struct digest *d, char out[STORE_PATH_MAX]) {
    char hex[DIGEST_STR_MAX];
    snprintf(out, STORE_PATH_MAX, "fills/%s-%s.part", digest_alg_name(d->alg), digest_hex(d, hex));
}

pthread_mutex_t *folder_stripe(struct store *s, const struct digest *d) {
    return &s->stripes[(d->bytes[8] ^ d->bytes[9]) % STRIPES];
}

static int sync_dir(const struct store *s, const char *path) {
    _cleanup_(closep) int fd = openat(s->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int make_blob_dir(struct store *s, const struct digest *d) {
    char path[STORE_PATH_MAX];
    snprintf(path, sizeof(path), "blobs/%s/%02x", digest_alg_name(d->alg), d->bytes[0]);
    if (mkdirat(s->dir_fd, path, 0700) < 0 && errno != EEXIST) return -errno;
    snprintf(path, sizeof(path), "blobs/%s", digest_alg_name(d->alg));
    return sync_dir(s, path);
}

int folder_move_in(struct store *s, const char *from, const struct digest *d) {
    char to[STORE_PATH_MAX];
    folder_blob_path(d, to);
    int r = renameat(s->dir_fd, from, s->dir_fd, to) < 0 ? -errno : 0;
    /* An empty one may be removed again before it is used, where inodes are short. */
    for (int i = 0; r == -ENOENT && i < MOVE_TRIES && (r = make_blob_dir(s, d)) == 0; i++)
        r = renameat(s->dir_fd, from, s->dir_fd, to) < 0 ? -errno : 0;
    if (r == -ENOSPC || r == -EDQUOT) r = ERR_NO_SPACE;
    if (r == 0) atomic_fetch_or(&s->dirty_dirs[d->alg == DIGEST_SHA512][d->bytes[0] / 32], 1u << d->bytes[0] % 32);
    return r;
}

void folder_drop_empty(struct store *s, const struct digest *d) {
    char path[STORE_PATH_MAX];
    snprintf(path, sizeof(path), "blobs/%s/%02x", digest_alg_name(d->alg), d->bytes[0]);
    if (unlinkat(s->dir_fd, path, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
        log_warn("folder_not_removed", KV_S("path", path), KV_S("why", error_name(-errno)));
}

static int64_t blocks_of(const struct store *s, const char *path) {
    struct stat st;
    return fstatat(s->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_blocks * 512LL : 0;
}

int64_t folder_overhead(const struct store *s) {
    static const char *const index[] = {"index.db", "index.db-wal", "index.db-shm"};
    int64_t bytes = 0;
    for (size_t i = 0; i < ARRAY_LEN(index); i++)
        bytes += blocks_of(s, index[i]);
    for (unsigned a = 0; a < 2; a++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char path[STORE_PATH_MAX];
            snprintf(path, sizeof(path), "blobs/%s/%02x", digest_alg_name(a ? DIGEST_SHA512 : DIGEST_SHA256), byte);
            bytes += blocks_of(s, path);
        }
    }
    return bytes;
}

/* Network file systems give their transfer size here instead of the disk's block size. */
static int64_t block_size(const struct store *s) {
    struct statvfs st;
    if (fstatvfs(s->dir_fd, &st) < 0 || st.f_frsize == 0 || st.f_frsize > BLOCK_MAX) return BLOCK_USUAL;
    return (int64_t)st.f_frsize;
}

void folder_sync(struct store *s) {
    for (unsigned a = 0; a < 2; a++) {
        for (unsigned w = 0; w < 8; w++) {
            uint32_t bits = atomic_load(&s->dirty_dirs[a][w]) ? atomic_exchange(&s->dirty_dirs[a][w], 0) : 0;
            for (; bits; bits &= bits - 1) {
                char path[STORE_PATH_MAX];
                unsigned byte = w * 32 + (unsigned)__builtin_ctz(bits);
                snprintf(path, sizeof(path), "blobs/%s/%02x", digest_alg_name(a ? DIGEST_SHA512 : DIGEST_SHA256), byte);
                int r = sync_dir(s, path);
                if (r < 0 && r != -ENOENT) /* removed again, as it was empty */
                    log_warn("folder_sync_failed", KV_S("path", path), KV_S("why", error_name(r)));
            }
        }
    }
}

/* --- opening it --- */

static int lock_dir(struct store *s, struct error *err) {
    s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        int r = error_errno(err, "opening %s/lock", s->dir);
        error_hint(err, "the data folder must be writable for the user the daemon runs as, and its disk not full");
        return r;
    }
    char pid[32] = "";
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = errno == EWOULDBLOCK ? pread(s->lock_fd, pid, sizeof(pid) - 1, 0) : 0;
        pid[strspn(pid, "0123456789")] = '\0';
        int r = error_set(err, ERR_BUSY, "%s is in use by another process%s%s%s", s->dir, n > 0 ? " (pid " : "", pid,
                          n > 0 ? ")" : "");
        error_hint(err, "stop the other one, or give this one a `data` folder of its own");
        return r;
    }
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, pid, (size_t)len, 0) < 0)
        log_warn("lock_pid_not_written", KV_S("path", s->dir), KV_S("why", error_name(-errno)));
    return 0;
}

/* --- whose it is --- */

/* A unit of ours makes read-only what it does not name (ProtectSystem=strict), and has the program's name. The commands
 * are those of docs/operating.md. */
static void hint_read_only(const char *dir, struct error *err) {
    const char *unit = program_invocation_short_name;
    if (!getenv("INVOCATION_ID"))
        error_hint(err, "mount its file system writable, or give it another folder (the key data)");
    else if (strlen(dir) + 2 * strlen(unit) > UNIT_HINT_ROOM)
        error_hint(err, "under systemd add ReadWritePaths=FOLDER in a drop-in of the unit (docs/operating.md)");
    else
        error_hint(err,
                   "sudo install -d /etc/systemd/system/%s.service.d; "
                   "printf '[Service]\\nReadWritePaths=%s\\n' | sudo tee /etc/systemd/system/%s.service.d/data.conf; "
                   "sudo systemctl daemon-reload; then restart it",
                   unit, dir, unit);
}

static int refuse_entry(const struct store *s, const char *name, int code, struct error *err) {
    int r = name ? error_set(err, code, "data folder %s: cannot write %s: %s", s->dir, name, error_name(code))
                 : error_set(err, code, "data folder %s: cannot write: %s", s->dir, error_name(code));
    if (code == -EROFS)
        hint_read_only(s->dir, err);
    else
        error_hint(err, "make it and all in it writable for user %u (chown -R %u %.150s)", (unsigned)geteuid(),
                   (unsigned)geteuid(), s->dir);
    return r;
}

static int check_entry(const struct store *s, const char *path, struct error *err) {
    struct stat st;
    if (fstatat(s->dir_fd, path, &st, 0) < 0) return errno == ENOENT ? 0 : refuse_entry(s, path, -errno, err);
    int mode = S_ISDIR(st.st_mode) ? R_OK | W_OK | X_OK : R_OK | W_OK;
    if (faccessat(s->dir_fd, path, mode, AT_EACCESS) == 0 || errno == ENOENT) return 0;
    return refuse_entry(s, path, -errno, err);
}

/* Folders of blobs are made one by one: a single one of another user's would break what falls into it, and nothing
 * else. */
static int check_blob_dirs(const struct store *s, const char *alg, struct error *err) {
    char path[STORE_PATH_MAX];
    int r = 0;
    for (unsigned byte = 0; byte < 256 && r == 0; byte++) {
        snprintf(path, sizeof(path), "blobs/%s/%02x", alg, byte);
        r = check_entry(s, path, err);
    }
    return r;
}

/* What stands there may be another user's, or its file system read-only: said here, before somebody finds that
 * something of it cannot be replaced. */
static int check_writable(const struct store *s, struct error *err) {
    static const char *const names[] = {"lock",           "index.db",       "index.db-wal",  "index.db-shm",
                                        "hosted.db",      "hosted.db-wal",  "hosted.db-shm", "catalog.db",
                                        "catalog.db-wal", "catalog.db-shm", "reports.db",    "reports.db-wal",
                                        "reports.db-shm", "settings.pb",    "fills",         "quarantine",
                                        "blobs",          "blobs/sha256",   "blobs/sha512"};
    if (faccessat(s->dir_fd, ".", W_OK | X_OK, AT_EACCESS) < 0) return refuse_entry(s, NULL, -errno, err);
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(names) && r == 0; i++)
        r = check_entry(s, names[i], err);
    if (r == 0) r = check_blob_dirs(s, "sha256", err);
    if (r == 0) r = check_blob_dirs(s, "sha512", err);
    return r;
}

/* Files that are made in another user's folder could not be used by that user afterwards. A group may share a folder:
 * it has said so by the folder's mode. */
static int check_owner(const struct store *s, struct error *err) {
    struct stat st;
    uid_t self = geteuid();
    if (fstat(s->dir_fd, &st) < 0) return error_errno(err, "reading the owner of %s", s->dir);
    bool shared = self != 0 && st.st_mode & S_IWGRP;
    if (st.st_uid == self || shared) return 0;
    int r = error_set(err, -EPERM, "data folder %s belongs to user %u, and this runs as user %u", s->dir,
                      (unsigned)st.st_uid, (unsigned)self);
    error_hint(err,
               "run it as that user (systemctl start, or sudo -u '#%u'), or give it a folder of its own (the key "
               "data), or: chown -R %u %.100s",
               (unsigned)st.st_uid, (unsigned)self, s->dir);
    return r;
}

int store_check_folder(const char *dir, struct error *err) {
    struct store s = {.dir = (char *)(uintptr_t)dir};
    _cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_errno(err, "opening %s", dir);
    s.dir_fd = fd;
    int r = check_writable(&s, err);
    if (r == 0 && (r = trouble_probe(&s)) == -ENOENT) r = 0; /* nothing was ever kept here */
    if (r < 0 && !(err && err->msg[0])) trouble_say(&s, "making a file", r, err);
    return r;
}

int folder_open(struct store *s, struct error *err) {
    int r = dir_make_all(s->dir, 0700, err);
    if (r == -EROFS) hint_read_only(s->dir, err);
    if (r < 0) return r;
    s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0) return error_errno(err, "opening %s", s->dir);
    s->block = block_size(s);
    r = check_owner(s, err);
    if (r == 0) r = check_writable(s, err);
    if (r == 0) r = lock_dir(s, err);
    if (r < 0) return r;
    static const char *const dirs[] = {"blobs", "blobs/sha256", "blobs/sha512", "fills"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        if (mkdirat(s->dir_fd, dirs[i], 0700) < 0 && errno != EEXIST)
            return error_errno(err, "making %s/%s", s->dir, dirs[i]);
    }
    return 0;
}
