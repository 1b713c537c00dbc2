/* Whole-file and folder operations with errors a person can read. Thread: any that may block. */
#ifndef ENTREPOT_CORE_FILE_H
#define ENTREPOT_CORE_FILE_H

#include "common/core/error.h"

/* True if path exists and is not a regular file. A library that is told to open one (a FIFO, say) may wait for ever. */
bool file_is_special(const char *path);
/* Reads a whole file of at most `limit` bytes into memory, followed by a NUL. The caller frees *data. Longer files:
 * ERR_TOO_BIG. Never waits for a FIFO's writer. */
int file_read_all(const char *path, size_t limit, char **data, size_t *len, struct error *err) must_check;
/* As file_read_all, for `name` below the folder that is open as `folder`. path: what errors call it. */
int file_read_all_at(int folder, const char *name, const char *path, size_t limit, char **data, size_t *len,
                     struct error *err) must_check;
/* Replaces the file at path: writes a temporary file beside it, syncs that and renames it over path. */
int file_write_atomic(const char *path, mode_t mode, const void *data, size_t len, struct error *err) must_check;
/* Removes from a folder the temporary files of file_write_atomic that are a minute old: their writers were killed. */
void dir_remove_unfinished(const char *path);
/* As mkdir -p: existing folders are fine. */
int dir_make_all(const char *path, mode_t mode, struct error *err) must_check;
/* As root: gives a folder and all in it to the owner of another one, as to the account of a service. Links are not
 * followed. As anyone else it does nothing. */
int dir_give_away(const char *path, const char *owner_of, struct error *err) must_check;
/* Removes the regular files of a folder, and the folder itself if nothing else is in it. Not there: 0. */
int dir_remove_files(const char *path, struct error *err) must_check;

#endif
