/* Preloaded into a daemon: a disk that fails for a while. The file named by BAD_DISK holds two numbers: what is wrong
 * (0: nothing, 1: reading a blob fails with EIO, 2: it gives a wrong byte, 3: opening it fails with EIO), and for how
 * many such calls (0xffffffff: for ever). */
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
#include <unistd.h>

enum { FINE, READ_FAILS, READ_LIES, OPEN_FAILS };

static volatile uint32_t *wish;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("BAD_DISK");
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = name ? real_open(name, O_RDWR | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at != MAP_FAILED) wish = at;
}

static int take(uint32_t what) {
    if (!wish || wish[0] != what || wish[1] == 0) return 0;
    if (wish[1] != UINT32_MAX) __atomic_fetch_sub(&wish[1], 1, __ATOMIC_RELAXED);
    return 1;
}

static int is_blob(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0) return 0;
    path[n] = '\0';
    return strstr(path, "/data/blobs/") != NULL;
}

static ssize_t spoil(int fd, void *to, ssize_t n) {
    if (!wish || wish[0] == FINE || n <= 0 || !is_blob(fd)) return n;
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

static int opens(const char *name, int dir, const char *path, int flags, unsigned mode) {
    int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, name);
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
