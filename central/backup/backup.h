/* A copy of what central cannot get from anywhere else: who belongs to the fleet and by which keys, what is hosted with
 * its bytes, the catalogue, and what edges have reported. In a folder of its own:
 *
 *   identity/ fleet.db hosted.db catalog.db reports.db     each as of one moment; hosted.db is older than the blobs
 *   blobs/                                                 what hosted.db names
 *   central.yaml                                           the configuration, to read
 *   backup.json                                            written last: what is there, with a SHA-256 each
 *
 * Thread: main of a command; may block. */
#ifndef ENTREPOT_BACKUP_BACKUP_H
#define ENTREPOT_BACKUP_BACKUP_H

#include <jansson.h>

#include "common/core/error.h"

#define BACKUP_FILE "backup.json"
#define BACKUP_VERSION 1

struct backup_report {
    int64_t blobs, bytes, missing; /* hosted blobs; those whose bytes are not here */
};
/* Of a central that runs or does not. to: a folder that is empty or not there. config: a file, or NULL. */
int backup_make(const char *data, const char *config, const char *to, struct backup_report *out,
                struct error *err) must_check;

struct restore_order {
    const char *data;
    bool replace; /* what is there is moved aside, into DATA/before-restore-TIME */
};
/* ERR_BUSY: central runs, or there is something and replace is not set. ERR_CORRUPT: the backup is not whole. The
 * catalogue gets a new epoch, and invites that are open end. A database that the backup does not have is begun anew.
 * *made_at: when the backup was made. */
int backup_restore(const char *from, const struct restore_order *o, struct backup_report *out, int64_t *made_at,
                   struct error *err) must_check;

/* Finishes a restore that was cut after all was copied; for a central that is about to start, and for whoever else reads
 * the records. 1: there was one. ERR_BUSY: it runs on. */
int backup_finish_restore(const char *data, struct error *err) must_check;

/* For both: calls fn for the digest of every blob in hosted.db. */
int backup_each_blob(const char *hosted_db, int (*fn)(const char *name, void *arg, struct error *err), void *arg,
                     struct error *err) must_check;

#endif
