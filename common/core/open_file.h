/* An open file with a reference count. Whoever sends from it holds a reference, so others may unlink or close it
 * meanwhile. Thread: any (atomic). */
#ifndef ENTREPOT_CORE_OPEN_FILE_H
#define ENTREPOT_CORE_OPEN_FILE_H

#include "common/core/base.h"

struct open_file;

/* Small files are also kept in memory: at most so many bytes of each, and so many in the whole process. */
#define OPEN_FILE_CONTENT_MAX ((size_t)16 * 1024)
#define OPEN_FILE_CONTENTS_MAX ((size_t)16 * 1024 * 1024)

/* Takes ownership of fd; one reference. */
struct open_file *open_file_new(int fd);
struct open_file *open_file_ref(struct open_file *f);
void open_file_unref(struct open_file *f);
void open_file_unrefp(struct open_file **f);
int open_file_fd(const struct open_file *f);
/* Call at most once for a file. Reads its first len bytes, which must be all of it, into memory that is freed with the
 * file. On failure (a negative errno) nothing has changed: -EFBIG: too large; -ENOMEM: the process keeps too much
 * already; -EAGAIN: nowait is set and the bytes are not in the page cache; else reading failed. */
int open_file_keep(struct open_file *f, size_t len, bool nowait);
/* The content kept in memory, or NULL. Borrowed from f. */
const char *open_file_content(const struct open_file *f, size_t *len);
/* True if the negative errno of a read means that the disk fails (EIO and similar), so that the data is lost. */
bool disk_is_bad(int code);
/* Notes that reading failed with this negative errno. Only the first failure is kept. */
void open_file_fail(struct open_file *f, int code);
/* The failure that was noted, or 0. */
int open_file_failure(const struct open_file *f);
/* The number of references. Only a hint unless the caller prevents others from taking one. */
unsigned open_file_refs(const struct open_file *f);

#endif
