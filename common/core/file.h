/* Whole-file and folder operations with errors a person can read. Thread: any that may block. */
#ifndef ENTREPOT_CORE_FILE_H
#define ENTREPOT_CORE_FILE_H

#include "common/core/error.h"

/* There is something, and no regular file: a library told to open it may wait for ever. */
bool file_is_odd(const char *path);
/* Reads at most `limit` bytes into memory the caller frees (NUL-terminated). Longer files: ERR_TOO_BIG. */
int file_read_all(const char *path, size_t limit, char **data, size_t *len, struct error *err) must_check;
/* Writes a temporary file beside path, syncs it, renames it over path. */
int file_write_atomic(const char *path, mode_t mode, const void *data, size_t len, struct error *err) must_check;
/* mkdir -p; existing folders are fine. */
int dir_make_all(const char *path, mode_t mode, struct error *err) must_check;

#endif
