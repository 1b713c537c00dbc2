/* SQLite as the store's index and central's catalogue use it: how a connection is opened, what its failures mean in our
 * convention, and how a digest is kept. Thread: that of the connection. */
#ifndef ENTREPOT_DB_DB_H
#define ENTREPOT_DB_DB_H

#include <sqlite3.h>

#include "common/core/digest.h"
#include "common/core/error.h"

/* A connection for one thread at a time, with extended result codes and a wait of 10 s for locks; flags:
 * SQLITE_OPEN_*. The caller closes it. */
int db_open(sqlite3 **out, const char *path, int flags, struct error *err) must_check;
/* For each connection that may be the last to close: the write-ahead log's files stay, and with them the room that
 * opening anew takes, so that it can be done on a full disk. */
void db_keep_log(sqlite3 *db);

/* A digest as both databases keep it: the algorithm's byte, then its raw bytes, which is how a struct digest begins. */
static inline int db_digest_len(const struct digest *d) {
    return 1 + (int)digest_len(d->alg);
}
/* Copies it; what SQLite says. */
int db_bind_digest(sqlite3_stmt *st, int at, const struct digest *d);
/* False if the column holds none. */
bool db_column_digest(sqlite3_stmt *st, int column, struct digest *d);

/* The connection's last failure in our convention: 0 when there is none. */
int db_error_code(sqlite3 *db);
/* The same for a person: "doing: what SQLite says", with a hint where there is one. */
int db_error(sqlite3 *db, struct error *err, const char *doing);

#endif
