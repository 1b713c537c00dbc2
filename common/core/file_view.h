/* A part of a file, read where the page cache has it instead of being copied. A file that becomes shorter meanwhile, or
 * a disk that fails, ends a process that reads so by SIGBUS; here all of the view reads as zeros from then on, and says
 * that it is broken. Thread: any; a view belongs to the thread that has opened it, which may have one open at a time. */
#ifndef ENTREPOT_CORE_FILE_VIEW_H
#define ENTREPOT_CORE_FILE_VIEW_H

#include "common/core/base.h"

#include <signal.h>

/* Zeroed: closed. */
struct file_view {
    char *bytes; /* NULL: closed */
    int64_t from;
    size_t len;
    volatile sig_atomic_t is_broken;
};

/* Opens [from, from + len) of fd for reading; from: a multiple of the page size. It may reach beyond the file's end, as
 * long as nothing is read there. False: this file cannot be read so. */
bool file_view_open(struct file_view *v, int fd, int64_t from, size_t len) must_check;
/* n bytes from `at` on. NULL: the view is closed, or does not have all of them. */
const char *file_view_at(const struct file_view *v, int64_t at, size_t n);
/* True if some of what was read from it since it was opened was not there. */
bool file_view_is_broken(const struct file_view *v);
/* A closed one may be closed. */
void file_view_close(struct file_view *v);

#endif
