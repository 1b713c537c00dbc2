/* Counted open files. Thread: any. */
#include "common/core/open_file.h"

#include "common/core/alloc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/uio.h>

struct open_file {
    atomic_uint refs;
    int fd;
    atomic_int failure;      /* 0, or the negative errno of the first read that failed */
    size_t content_len;      /* set before content is */
    _Atomic(char *) content; /* NULL: not kept in memory; set once */
};

static _Atomic size_t contents; /* bytes of all that are kept */

struct open_file *open_file_new(int fd) {
    struct open_file *f = xcalloc(1, sizeof(*f));
    atomic_init(&f->refs, 1);
    f->fd = fd;
    return f;
}

struct open_file *open_file_ref(struct open_file *f) {
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void open_file_unref(struct open_file *f) {
    if (!f) return;
    unsigned before = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1) return;
    close(f->fd);
    char *content = atomic_load_explicit(&f->content, memory_order_relaxed);
    if (content) atomic_fetch_sub_explicit(&contents, f->content_len, memory_order_relaxed);
    free(content);
    free(f);
}

void open_file_unrefp(struct open_file **f) {
    open_file_unref(*f);
}

int open_file_fd(const struct open_file *f) {
    return f->fd;
}

/* Reads exactly len bytes. Negative errno on failure; -EAGAIN: nowait is set and the bytes are not in the page
 * cache. */
static int read_all(int fd, char *to, size_t len, bool nowait) {
    for (size_t have = 0; have < len;) {
        struct iovec iov = {to + have, len - have};
        ssize_t n = preadv2(fd, &iov, 1, (off_t)have, nowait ? RWF_NOWAIT : 0);
        if (n < 0 && errno == EOPNOTSUPP && nowait) {
            nowait = false;
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? -errno : -EIO;
        have += (size_t)n;
    }
    return 0;
}

int open_file_keep(struct open_file *f, size_t len, bool nowait) {
    if (len == 0 || len > OPEN_FILE_CONTENT_MAX) return -EFBIG;
    size_t before = atomic_fetch_add_explicit(&contents, len, memory_order_relaxed);
    char *content = before + len <= OPEN_FILE_CONTENTS_MAX ? malloc(len) : NULL;
    int r = content ? read_all(f->fd, content, len, nowait) : -ENOMEM;
    if (r < 0) {
        free(content);
        atomic_fetch_sub_explicit(&contents, len, memory_order_relaxed);
        return r;
    }
    f->content_len = len;
    atomic_store_explicit(&f->content, content, memory_order_release);
    return 0;
}

const char *open_file_content(const struct open_file *f, size_t *len) {
    const char *content = atomic_load_explicit(&f->content, memory_order_acquire);
    *len = content ? f->content_len : 0;
    return content;
}

bool disk_is_bad(int code) {
    return code == -EIO || code == -EUCLEAN || code == -EBADMSG || code == -ENODATA || code == -ENXIO ||
           code == -ENODEV || code == -EREMOTEIO || code == -ESTALE || code == -ENOMEDIUM;
}

void open_file_fail(struct open_file *f, int code) {
    int none = 0;
    atomic_compare_exchange_strong(&f->failure, &none, code);
}

int open_file_failure(const struct open_file *f) {
    return atomic_load_explicit(&f->failure, memory_order_relaxed);
}

unsigned open_file_refs(const struct open_file *f) {
    return atomic_load_explicit(&f->refs, memory_order_acquire);
}
