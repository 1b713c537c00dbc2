/* The change log of the catalogue, as replicas follow it. Each change of a record (common/records/record.h) is a row of
 * `log` with a number, the record and the digest of the whole state after it; the digests of tiles stand in `tiles`, the
 * place reached in `place`. All of it is written in the transaction of the change itself, so it is never ahead of the
 * catalogue nor behind.
 *
 * The epoch is made with the file, and anew when the file was changed by a version of this program that keeps no
 * digests. A file restored from a backup looks like a restart: then the digests tell (place_parse, changes_know).
 *
 * Thread: the catalogue's writer within a transaction, but for what is marked. */
#ifndef ENTREPOT_CATALOG_CHANGES_H
#define ENTREPOT_CATALOG_CHANGES_H

#include "central/catalog/catalog_private.h"
#include "common/records/messages.h"

struct changes;

struct changes *changes_new(void);
void changes_free(struct changes *ch);
/* Reads the place, and counts all records anew if there is none or it does not fit the log. An SQLite result code. */
int changes_begin(struct changes *ch, sqlite3 *db);

/* What was written since is undone, or may be: the place is read again. */
void changes_forget(struct changes *ch);

/* Each writes an entry of the log and sets *number to its number, or leaves *number alone if the record has the same
 * bytes as before. SQLite result codes. */
/* Writes an entry that changes no record: the number orders what is removed first when room is made. */
int changes_note_other(struct changes *ch, sqlite3 *db, int entry_kind, const struct digest *d, uint64_t *number);

/* A blob's size has changed; -1: it was not known, or is no longer. */
int changes_blob(struct changes *ch, sqlite3 *db, const struct digest *d, int64_t was, int64_t now, uint64_t *number);
/* A manifest was added (its rows are there), or is about to be removed (they are still there). */
int changes_manifest(struct changes *ch, sqlite3 *db, const struct digest *d, bool removed, uint64_t *number);
/* A tag changed. was or now NULL: there is none. repo: as stored. */
int changes_tag(struct changes *ch, sqlite3 *db, const struct repo_name *repo, const char *tag,
                const struct tag_facts *was, const struct tag_facts *now, uint64_t *number);

#endif
