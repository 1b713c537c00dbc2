/* A counted open file: whoever sends from it holds a reference, so it may be unlinked or closed by others meanwhile.
 * Thread: any (atomic). */
#ifndef ENTREPOT_CORE_OPEN_FILE_H
#define ENTREPOT_CORE_OPEN_FILE_H

#include "common/core/base.h"

struct open_file;

/* Contents of small files are kept in memory: so large each at most, and so many bytes in the whole process. */
#define OPEN_FILE_CONTENT_MAX ((size_t)16 * 1024)
#define OPEN_FILE_CONTENTS_MAX ((size_t)16 * 1024 * 1024)

/* Takes ownership of fd; one reference. */
struct open_file *open_file_new(int fd);
struct open_file *open_file_ref(struct open_file *f);
void open_file_unref(struct open_file *f);
void open_file_unrefp(struct open_file **f);
int open_file_fd(const struct open_file *f);
/* At most once for a file: reads its first len bytes, all there are, into memory that goes with it. Negative: nothing
 * has changed; it is too large (-EFBIG), there are too many (-ENOMEM), it could not be read, or with now set a disk
 * would have to be waited for (-EAGAIN). */
int open_file_keep(struct open_file *f, size_t len, bool now);
/* What is kept, or NULL. Borrowed from f. */
const char *open_file_content(const struct open_file *f, size_t *len);
/* A disk that fails, as far as an error of a read tells (EIO and its like): what was written does not come back. */
bool disk_is_bad(int code);
/* Reading it failed so (a negative errno): the first failure is kept. */
void open_file_fail(struct open_file *f, int code);
/* 0: none has. */
int open_file_failure(const struct open_file *f);
/* References alive now; only a hint unless the caller keeps others from taking one. */
unsigned open_file_refs(const struct open_file *f);

#endif
