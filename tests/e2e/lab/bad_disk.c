/* Preloaded into a daemon: a disk that fails for a while. The file named by BAD_DISK holds three numbers: what is wrong
 * (0: nothing, 1: reading a blob fails with EIO, 2: it gives a wrong byte, 3: opening it fails with EIO, 4: sending it
 * fails with EIO from its second MiB on, 5: making a file or folder finds no inode (ENOSPC), 6: whatever changes the
 * disk finds it read-only, 7: as 4, of a download's own file, 8: syncing such a file fails with EIO, 9: writing the
 * index fails with EIO, 10: reading a download's own file back fails with EIO), and for how many such calls
 * (0xffffffff: for ever); the third is ours: the file whose sending failed first, the only one that goes on to fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FINE,
    READ_FAILS,
    READ_LIES,
    OPEN_FAILS,
    SEND_FAILS,
    NO_INODES,
    READ_ONLY,
    FILL_FAILS,
    SYNC_FAILS,
    INDEX_FAILS,
    HASH_FAILS
};

static volatile uint32_t *wish;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("BAD_DISK");
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = name ? real_open(name, O_RDWR | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, 12, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at != MAP_FAILED) wish = at;
}

static int take(uint32_t what) {
    if (!wish || wish[0] != what || wish[1] == 0) return 0;
    if (wish[1] != UINT32_MAX) __atomic_fetch_sub(&wish[1], 1, __ATOMIC_RELAXED);
    return 1;
}

static int is_below(int fd, const char *folder) {
    char link[64], path[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0) return 0;
    path[n] = '\0';
    return strstr(path, folder) != NULL;
}

static int is_blob(int fd) {
    return is_below(fd, "/data/blobs/");
}

static int fails(uint32_t what, int fd, const char *folder) {
    if (!wish || wish[0] != what || !is_below(fd, folder) || !take(what)) return 0;
    errno = EIO;
    return 1;
}

static ssize_t spoil(int fd, void *to, ssize_t n) {
    if (!wish || wish[0] == FINE || n <= 0) return n;
    if (fails(HASH_FAILS, fd, "/data/fills/")) return -1;
    if (!is_blob(fd)) return n;
    if (take(READ_FAILS)) {
        errno = EIO;
        return -1;
    }
    if (take(READ_LIES)) ((char *)to)[n / 2] ^= 1;
    return n;
}

#define READS(name, parameters, arguments)         \
    ssize_t name parameters {                      \
        static ssize_t(*real) parameters;          \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        return spoil(fd, to, real arguments);      \
    }

READS(read, (int fd, void *to, size_t n), (fd, to, n))
READS(pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
READS(pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at))
READS(__read_chk, (int fd, void *to, size_t n, size_t room), (fd, to, n, room))
READS(__pread_chk, (int fd, void *to, size_t n, off_t at, size_t room), (fd, to, n, at, room))
READS(__pread64_chk, (int fd, void *to, size_t n, off64_t at, size_t room), (fd, to, n, at, room))

/* What cannot be looked at in the page cache is read. */
#define MAPS(name, offset_type)                                                        \
    void *name(void *at, size_t n, int prot, int flags, int fd, offset_type from) {    \
        void *(*real)(void *, size_t, int, int, int, offset_type);                     \
        real = dlsym(RTLD_NEXT, #name);                                                \
        if (fd < 0 || !wish || wish[0] != HASH_FAILS || !is_below(fd, "/data/fills/")) \
            return real(at, n, prot, flags, fd, from);                                 \
        errno = EIO;                                                                   \
        return MAP_FAILED;                                                             \
    }

MAPS(mmap, off_t)
MAPS(mmap64, off64_t)

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    return fails(SYNC_FAILS, fd, "/data/fills/") ? -1 : real(fd);
}

ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    return fails(INDEX_FAILS, fd, "/data/index.db") ? -1 : real(fd, from, n, at);
}

/* making: it needs an inode. */
static int refused(int making) {
    int code = making && take(NO_INODES) ? ENOSPC : take(READ_ONLY) ? EROFS : 0;
    errno = code ? code : errno;
    return code != 0;
}

#define CHANGES(name, making, parameters, arguments)  \
    int name parameters {                             \
        static int(*real) parameters;                 \
        if (!real) real = dlsym(RTLD_NEXT, #name);    \
        return refused(making) ? -1 : real arguments; \
    }

CHANGES(unlinkat, 0, (int dir, const char *path, int flags), (dir, path, flags))
CHANGES(renameat, 0, (int from, const char *a, int to, const char *b), (from, a, to, b))
CHANGES(mkdirat, 1, (int dir, const char *path, mode_t mode), (dir, path, mode))

static int is_the_bad_one(int fd) {
    struct stat st;
    uint32_t none = 0;
    if (fstat(fd, &st) < 0) return 0;
    /* It stays open for good: its number must not come back as that of the file that takes its place. */
    if (__atomic_compare_exchange_n(&wish[2], &none, (uint32_t)st.st_ino, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED) &&
        fcntl(fd, F_DUPFD_CLOEXEC, 0) < 0)
        abort();
    return wish[2] == (uint32_t)st.st_ino;
}

#define SEND_FROM (1 << 20)

/* Of a blob's file (SEND_FAILS) or a download's (FILL_FAILS); the kinds do not mix. */
static int sends_badly(int fd) {
    if (!wish) return 0;
    return (wish[0] == SEND_FAILS && is_blob(fd)) || (wish[0] == FILL_FAILS && is_below(fd, "/data/fills/"));
}

#define SENDS(name, offset_type)                                                           \
    ssize_t name(int to, int fd, offset_type *at, size_t n) {                              \
        static ssize_t (*real)(int, int, offset_type *, size_t);                           \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                         \
        if (at && sends_badly(fd)) {                                                       \
            if (*at >= SEND_FROM && is_the_bad_one(fd) && take(wish[0])) {                 \
                errno = EIO;                                                               \
                return -1;                                                                 \
            }                                                                              \
            if (*at<SEND_FROM && * at + (long)n> SEND_FROM) n = (size_t)(SEND_FROM - *at); \
        }                                                                                  \
        return real(to, fd, at, n);                                                        \
    }

SENDS(sendfile, off_t)
SENDS(sendfile64, off64_t)

static int opens(const char *name, int dir, const char *path, int flags, unsigned mode) {
    int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, name);
    if (flags & O_CREAT && strncmp(path, "fills/", 6) == 0 && refused(1)) return -1;
    if (strncmp(path, "blobs/", 6) == 0 && strlen(path) > 60 && take(OPEN_FAILS)) {
        errno = EIO;
        return -1;
    }
    return real(dir, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    unsigned mode = va_arg(ap, unsigned);
    va_end(ap);
    return opens("openat", dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    unsigned mode = va_arg(ap, unsigned);
    va_end(ap);
    return opens("openat64", dir, path, flags, mode);
}
