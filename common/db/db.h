/* How the project uses SQLite: how a connection is opened, how its failures become our error codes, and how a digest is
 * stored. Thread: that of the connection. */
#ifndef ENTREPOT_DB_DB_H
#define ENTREPOT_DB_DB_H

#include <sqlite3.h>

#include "common/core/digest.h"
#include "common/core/error.h"

/* Opens a connection for one thread at a time, with extended result codes and a wait of 10 s for locks. flags:
 * SQLITE_OPEN_*. The caller closes it. */
int db_open(sqlite3 **out, const char *path, int flags, struct error *err) must_check;
/* Keeps the files of the write-ahead log when the connection is closed. Opening the database again then needs no new
 * disk space, so it works on a full disk. Call it for every connection that may be the last to close. */
void db_keep_log(sqlite3 *db);

/* The statement of sql, which is prepared when *st is still NULL, and stays there until the caller finalizes it. NULL:
 * it could not be prepared, and db says why; the calls that bind and step then return SQLITE_MISUSE. */
sqlite3_stmt *db_prepared(sqlite3 *db, sqlite3_stmt **st, const char *sql);
/* Makes a statement (may be NULL) ready for its next use. */
void db_reset(sqlite3_stmt *st);
/* Runs a statement that returns no rows, and makes it ready for its next use. SQLITE_OK, or why it failed; NULL:
 * SQLITE_MISUSE. */
int db_run(sqlite3_stmt *st) must_check;

/* A digest as stored in a database: one byte for the algorithm, then its raw bytes. A struct digest begins with the
 * same bytes. */
static inline int db_digest_len(const struct digest *d) {
    return 1 + (int)digest_len(d->alg);
}
/* Binds a copy of the digest. Returns an SQLite result code. */
int db_bind_digest(sqlite3_stmt *st, int at, const struct digest *d);
/* False if the column does not contain a digest. */
bool db_column_digest(sqlite3_stmt *st, int column, struct digest *d);

/* Whether an SQLite result code, extended or not, says that the file is damaged. */
static inline bool db_is_damage(int rc) {
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}
/* Renames a database that is of no use to PATH.damaged, for whoever wants to know what happened, in place of an older
 * one, and removes its write-ahead log, which is of no use without it. No connection to it may be open. */
int db_put_aside(const char *path, struct error *err) must_check;
/* The connection's last failure as an enum err; 0 if there is none. */
int db_error_code(sqlite3 *db);
/* The same, and fills err: "DOING: SQLite's message", with a hint for common causes. */
int db_error(sqlite3 *db, struct error *err, const char *doing);

#endif
