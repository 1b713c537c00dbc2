/* A counted open file: whoever sends from it holds a reference, so it may be unlinked or closed by others meanwhile.
 * Thread: any (atomic). */
#ifndef ENTREPOT_CORE_OPEN_FILE_H
#define ENTREPOT_CORE_OPEN_FILE_H

#include "common/core/base.h"

struct open_file;
/* Takes ownership of fd; one reference. */
struct open_file *open_file_new(int fd);
struct open_file *open_file_ref(struct open_file *f);
void open_file_unref(struct open_file *f);
void open_file_unrefp(struct open_file **f);
int open_file_fd(const struct open_file *f);
/* References alive now; only a hint unless the caller keeps others from taking one. */
unsigned open_file_refs(const struct open_file *f);

#endif
