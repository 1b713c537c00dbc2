/* Preloaded into a daemon: a disk, and a name server, that take their time. While the number in the file named by
 * SLOW_DISK is not 0, every call that may wait for a disk does so for that many milliseconds, and those that refuse to
 * wait (RWF_NOWAIT, RESOLVE_CACHED) are told that nothing is in memory. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#define WAITS_MAX 8

static volatile const uint32_t *delay_ms;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("SLOW_DISK");
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = name ? real_open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, sizeof(*delay_ms), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at != MAP_FAILED) delay_ms = at;
}

static int is_slow(void) {
    return delay_ms && *delay_ms;
}

/* Each thread waits a few times; to show that it waits at all takes one. */
static void wait_for_disk(void) {
    static __thread unsigned waits;
    if (!is_slow() || waits == WAITS_MAX) return;
    waits++;
    int saved = errno;
    struct timespec t = {.tv_sec = *delay_ms / 1000, .tv_nsec = *delay_ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
    errno = saved;
}

#define SLOW(type, name, parameters, arguments)    \
    type name parameters {                         \
        static type(*real) parameters;             \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        wait_for_disk();                           \
        return real arguments;                     \
    }

SLOW(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
SLOW(ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at))
SLOW(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
SLOW(ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at))
SLOW(int, fsync, (int fd), (fd))
SLOW(int, fdatasync, (int fd), (fd))
SLOW(int, ftruncate, (int fd, off_t n), (fd, n))
SLOW(int, ftruncate64, (int fd, off64_t n), (fd, n))
SLOW(int, unlink, (const char *path), (path))
SLOW(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
SLOW(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b))
SLOW(int, faccessat, (int dir, const char *path, int mode, int flags), (dir, path, mode, flags))
SLOW(int, getaddrinfo, (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out),
     (host, port, hints, out))

#define MODE_OF(flags, mode)                                                    \
    va_list more;                                                               \
    va_start(more, flags);                                                      \
    mode_t mode = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more);                                                               \
    wait_for_disk()

#define SLOW_OPEN(name)                             \
    int name(const char *path, int flags, ...) {    \
        static int (*real)(const char *, int, ...); \
        if (!real) real = dlsym(RTLD_NEXT, #name);  \
        MODE_OF(flags, mode);                       \
        return real(path, flags, mode);             \
    }
SLOW_OPEN(open)
SLOW_OPEN(open64)

#define SLOW_OPENAT(name)                                 \
    int name(int dir, const char *path, int flags, ...) { \
        static int (*real)(int, const char *, int, ...);  \
        if (!real) real = dlsym(RTLD_NEXT, #name);        \
        MODE_OF(flags, mode);                             \
        return real(dir, path, flags, mode);              \
    }
SLOW_OPENAT(openat)
SLOW_OPENAT(openat64)

#define SLOW_READ(name, offset_type)                                                  \
    ssize_t name(int fd, const struct iovec *iov, int n, offset_type at, int flags) { \
        static ssize_t (*real)(int, const struct iovec *, int, offset_type, int);     \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                    \
        if (is_slow() && flags & RWF_NOWAIT) {                                        \
            errno = EAGAIN;                                                           \
            return -1;                                                                \
        }                                                                             \
        wait_for_disk();                                                              \
        return real(fd, iov, n, at, flags);                                           \
    }
SLOW_READ(preadv2, off_t)
SLOW_READ(preadv64v2, off64_t)

long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = dlsym(RTLD_NEXT, "syscall");
    va_list more;
    va_start(more, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_openat2 && is_slow() && ((const struct open_how *)a[2])->resolve & RESOLVE_CACHED) {
        errno = EAGAIN;
        return -1;
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
