/* A table of pulls by repository and tag, in a database: `NAME(repo, tag, n)`. It is bounded: what was pulled least is
 * merged into the row of no name, so that sums stay right. Thread: that of the connection. */
#ifndef ENTREPOT_DB_PULL_TABLE_H
#define ENTREPOT_DB_PULL_TABLE_H

#include "common/db/db.h"

/* The table's definition, to be put together with others. */
#define PULL_TABLE_SCHEMA(name)                                                                      \
    "CREATE TABLE IF NOT EXISTS " name "(repo TEXT NOT NULL, tag TEXT NOT NULL, n INTEGER NOT NULL," \
    " PRIMARY KEY(repo, tag)) STRICT, WITHOUT ROWID;"                                                \
    "CREATE INDEX IF NOT EXISTS " name "_by_n ON " name "(n);"

enum pull_table_statement {
    PULL_TABLE_ADD,
    PULL_TABLE_COUNT,
    PULL_TABLE_LEAST,
    PULL_TABLE_DROP,
    PULL_TABLE_STATEMENTS
};
/* Zero-initialise but for the name. */
struct pull_table {
    const char *name;
    unsigned unlooked; /* additions since the names were counted */
    bool looked;
    sqlite3_stmt *st[PULL_TABLE_STATEMENTS]; /* finalized by who closes the connection */
};
/* The most that a count can be; sums stay there. */
#define PULLS_MAX (1LL << 53)

/* repo and tag "": pulls of names that were not kept apart. An SQLite result code. */
int pull_table_add(struct pull_table *t, sqlite3 *db, const char *repo, const char *tag, int64_t n) must_check;
/* If there are more than max names, merges the least pulled until a tenth of max is free. Names are counted at every
 * 256th addition only, so there may be so many more. An SQLite result code. */
int pull_table_bound(struct pull_table *t, sqlite3 *db, int64_t max) must_check;

#endif
