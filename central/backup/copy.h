/* Copies of files and databases for backup and restore, synced before they count. Thread: main of a command; may
 * block. */
#ifndef ENTREPOT_BACKUP_COPY_H
#define ENTREPOT_BACKUP_COPY_H

#include "common/core/error.h"

/* A clone where the file system can make one; else, if `link` is set, another name of the same file, for files that
 * never change; else a copy of its bytes. to must not exist. */
int copy_file(const char *from, const char *to, mode_t mode, bool link, struct error *err) must_check;
/* A copy of an SQLite database as of one moment, whoever writes to it meanwhile. to must not exist. */
int copy_database(const char *from, const char *to, struct error *err) must_check;
#define COPY_HEX_MAX 65
/* The SHA-256 of a file as 64 hexadecimal digits, and its size. */
int copy_hash(const char *path, char hex[COPY_HEX_MAX], int64_t *size, struct error *err) must_check;
/* Syncs a folder, so that what was made in it outlives a power cut. */
int copy_sync_dir(const char *path, struct error *err) must_check;

#endif
