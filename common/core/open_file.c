/* Counted open files. Thread: any. */
#include "common/core/open_file.h"

#include <assert.h>
#include <stdatomic.h>

struct open_file {
    atomic_uint refs;
    int fd;
};

struct open_file *open_file_new(int fd) {
    struct open_file *f = malloc(sizeof(*f));
    if (!f) abort();
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
    free(f);
}

void open_file_unrefp(struct open_file **f) {
    open_file_unref(*f);
}

int open_file_fd(const struct open_file *f) {
    return f->fd;
}

unsigned open_file_refs(const struct open_file *f) {
    return atomic_load_explicit(&f->refs, memory_order_acquire);
}
