/* A small blob that is in memory, stored as load stores a file. Thread: the test's. */
#ifndef ENTREPOT_TESTS_SUPPORT_PUT_H
#define ENTREPOT_TESTS_SUPPORT_PUT_H

#include <sys/mman.h>
#include <unistd.h>

#include "common/store/store.h"

/* A file in memory, to be read from its start; or a negative errno. The caller closes it. */
static inline int file_of_bytes(const void *data, size_t len, struct error *err) {
    int fd = memfd_create("blob", MFD_CLOEXEC);
    if (fd < 0) return error_errno(err, "making a file in memory");
    if (write(fd, data, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0) return fd;
    int r = error_errno(err, "writing to a file in memory");
    close(fd);
    return r;
}

static inline int put_bytes(struct store *s, const struct digest *d, const void *data, size_t len,
                            const struct commit_info *info, struct error *err) {
    int fd = file_of_bytes(data, len, err);
    if (fd < 0) return fd;
    int r = store_put_file(s, d, fd, info, err);
    close(fd);
    return r;
}

#endif
