/* Statements are made with the table's name in them. Thread: that of the connection. */
#include "common/db/pull_table.h"

#include <stdio.h>

#define LOOK_EVERY 256

static sqlite3_stmt *statement(struct pull_table *t, sqlite3 *db, enum pull_table_statement which) {
    static const char *const sql[] = {
        [PULL_TABLE_ADD] = ("INSERT INTO %s(repo, tag, n) VALUES(?1, ?2, ?3)"
                            " ON CONFLICT(repo, tag) DO UPDATE SET n = min(n + excluded.n, ?4)"),
        [PULL_TABLE_COUNT] = "SELECT count(*) FROM %s",
        [PULL_TABLE_LEAST] = "SELECT repo, tag, n FROM %s WHERE repo <> '' ORDER BY n LIMIT 1",
        [PULL_TABLE_DROP] = "DELETE FROM %s WHERE repo = ?1 AND tag = ?2",
    };
    char text[256];
    snprintf(text, sizeof(text), sql[which], t->name);
    return db_prepared(db, &t->st[which], text);
}

int pull_table_add(struct pull_table *t, sqlite3 *db, const char *repo, const char *tag, int64_t n) {
    sqlite3_stmt *st = statement(t, db, PULL_TABLE_ADD);
    t->unlooked++;
    sqlite3_bind_text(st, 1, repo, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 2, tag, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(st, 3, n < PULLS_MAX ? n : PULLS_MAX);
    sqlite3_bind_int64(st, 4, PULLS_MAX);
    return db_run(st);
}

static int count(struct pull_table *t, sqlite3 *db, int64_t *out) {
    sqlite3_stmt *st = statement(t, db, PULL_TABLE_COUNT);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    db_reset(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* The row of no name gets what the least pulled one has. SQLITE_DONE: there is none. */
static int merge_one(struct pull_table *t, sqlite3 *db) {
    sqlite3_stmt *least = statement(t, db, PULL_TABLE_LEAST), *drop = statement(t, db, PULL_TABLE_DROP);
    int rc = sqlite3_step(least);
    int64_t n = rc == SQLITE_ROW ? sqlite3_column_int64(least, 2) : 0;
    if (rc == SQLITE_ROW) {
        sqlite3_bind_value(drop, 1, sqlite3_column_value(least, 0));
        sqlite3_bind_value(drop, 2, sqlite3_column_value(least, 1));
    }
    db_reset(least);
    if (rc != SQLITE_ROW) return rc;
    rc = db_run(drop);
    return rc == SQLITE_OK ? pull_table_add(t, db, "", "", n) : rc;
}

int pull_table_bound(struct pull_table *t, sqlite3 *db, int64_t max) {
    int64_t names;
    if (t->looked && t->unlooked < LOOK_EVERY) return SQLITE_OK;
    t->looked = true;
    t->unlooked = 0;
    int rc = count(t, db, &names);
    if (rc != SQLITE_OK || names <= max) return rc;
    for (int64_t i = names - (max - max / 10); i > 0 && rc == SQLITE_OK; i--)
        rc = merge_one(t, db);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}
