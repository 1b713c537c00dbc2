/* Counts, and the last batch of each edge. Thread: see pulls.h. */
#include "central/reports/pulls.h"

#include "common/core/alloc.h"
#include "common/db/pull_table.h"

#include <stdatomic.h>
#include <string.h>

const char pulls_schema[] = PULL_TABLE_SCHEMA("pulls") "CREATE TABLE IF NOT EXISTS pulls_taken(edge INTEGER PRIMARY "
                                                       "KEY, epoch BLOB NOT NULL, sequence INTEGER NOT NULL)"
                                                       " STRICT;";

enum statement { GET_TAKEN, PUT_TAKEN, FORGET, STATEMENT_COUNT };

struct pulls {
    unsigned names_max;
    _Atomic int64_t total;
    struct pull_table table;
    sqlite3_stmt *st[STATEMENT_COUNT];
};

struct pulls *pulls_new(unsigned names_max) {
    struct pulls *p = xcalloc(1, sizeof(*p));
    p->names_max = names_max;
    p->table.name = "pulls";
    return p;
}

void pulls_free(struct pulls *p) {
    free(p);
}

void pulls_added(struct pulls *p, int64_t n) {
    atomic_fetch_add(&p->total, n);
}

int64_t pulls_total(const struct pulls *p) {
    return atomic_load(&p->total);
}

static sqlite3_stmt *statement(struct pulls *p, sqlite3 *db, enum statement which) {
    static const char *const sql[] = {
        [GET_TAKEN] = "SELECT epoch, sequence FROM pulls_taken WHERE edge = ?",
        [PUT_TAKEN] = "INSERT OR REPLACE INTO pulls_taken(edge, epoch, sequence) VALUES(?, ?, ?)",
        [FORGET] = "DELETE FROM pulls_taken WHERE edge = ?",
    };
    return db_prepared(db, &p->st[which], sql[which]);
}

/* --- taking --- */

/* *sequence: the last batch of that epoch that was taken; 0: none. */
static int get_taken(struct pulls *p, sqlite3 *db, int64_t edge, const struct wire_pulls *w, uint64_t *sequence) {
    sqlite3_stmt *st = statement(p, db, GET_TAKEN);
    sqlite3_bind_int64(st, 1, edge);
    int rc = sqlite3_step(st);
    bool same = rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == sizeof(w->epoch) &&
                memcmp(sqlite3_column_blob(st, 0), w->epoch, sizeof(w->epoch)) == 0;
    *sequence = same ? (uint64_t)sqlite3_column_int64(st, 1) : 0;
    db_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int put_taken(struct pulls *p, sqlite3 *db, int64_t edge, const struct wire_pulls *w) {
    sqlite3_stmt *st = statement(p, db, PUT_TAKEN);
    sqlite3_bind_int64(st, 1, edge);
    sqlite3_bind_blob(st, 2, w->epoch, sizeof(w->epoch), SQLITE_TRANSIENT);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)w->sequence);
    return db_run(st);
}

static int add_all(struct pulls *p, sqlite3 *db, const struct wire_pulls *w, int64_t *added) {
    int rc = w->other ? pull_table_add(&p->table, db, "", "", (int64_t)w->other) : SQLITE_OK;
    *added = (int64_t)w->other;
    for (size_t i = 0; i < w->n && rc == SQLITE_OK; i++) {
        rc = pull_table_add(&p->table, db, w->counts[i].repository, w->counts[i].tag, (int64_t)w->counts[i].count);
        *added += (int64_t)w->counts[i].count;
    }
    return rc == SQLITE_OK ? pull_table_bound(&p->table, db, p->names_max) : rc;
}

int pulls_take(struct pulls *p, sqlite3 *db, int64_t edge, const struct wire_pulls *w, uint64_t *taken,
               int64_t *added) {
    *added = 0;
    int rc = get_taken(p, db, edge, w, taken);
    if (rc == SQLITE_OK && w->sequence <= *taken) return 0;
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, "SAVEPOINT pulls", NULL, NULL, NULL);
    if (rc != SQLITE_OK) return db_error_code(db);
    rc = add_all(p, db, w, added);
    if (rc == SQLITE_OK) rc = put_taken(p, db, edge, w);
    int code = rc == SQLITE_OK ? 0 : db_error_code(db);
    if (rc != SQLITE_OK && code == 0) code = ERR_INTERNAL;
    if (code < 0) {
        *added = 0;
        rc = sqlite3_exec(db, "ROLLBACK TO pulls", NULL, NULL, NULL);
    } else {
        *taken = w->sequence;
    }
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, "RELEASE pulls", NULL, NULL, NULL);
    return code < 0 ? code : rc == SQLITE_OK ? 0 : ERR_INTERNAL;
}

int pulls_forget(struct pulls *p, sqlite3 *db, int64_t edge) {
    sqlite3_stmt *st = statement(p, db, FORGET);
    sqlite3_bind_int64(st, 1, edge);
    return db_run(st);
}

/* --- reading --- */

static int read_number(sqlite3 *db, const char *sql, const char *repo, int64_t *out) {
    sqlite3_stmt *st = NULL;
    *out = 0;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK && repo) sqlite3_bind_text(st, 1, repo, -1, SQLITE_TRANSIENT);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int pulls_read(struct pulls *p, sqlite3 *db, struct error *err) {
    int64_t total;
    int rc = read_number(db, "SELECT total(n) FROM pulls", NULL, &total);
    if (rc != SQLITE_OK) {
        return error_set(err, db_is_damage(rc) ? ERR_CORRUPT : ERR_INTERNAL, "%s", sqlite3_errstr(rc));
    }
    atomic_store(&p->total, total);
    return 0;
}

static int read_most(sqlite3 *db, const char *repo, int max, json_t *into) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db,
                                repo ? "SELECT repo, tag, n FROM pulls WHERE repo = ?2 ORDER BY n DESC, tag LIMIT ?1"
                                     : "SELECT repo, tag, n FROM pulls WHERE repo <> '' ORDER BY n DESC LIMIT ?1",
                                -1, &st, NULL);
    if (rc == SQLITE_OK) sqlite3_bind_int(st, 1, max);
    if (rc == SQLITE_OK && repo) sqlite3_bind_text(st, 2, repo, -1, SQLITE_TRANSIENT);
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        json_array_append_new(into,
                              json_pack("{s:s, s:s, s:I}", "repository", sqlite3_column_text(st, 0), "tag",
                                        sqlite3_column_text(st, 1), "pulls", (json_int_t)sqlite3_column_int64(st, 2)));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int pulls_json(sqlite3 *db, const char *repo, int max, json_t **out) {
    int64_t total, other = 0;
    json_t *most = json_array();
    int rc = read_number(db, repo ? "SELECT total(n) FROM pulls WHERE repo = ?" : "SELECT total(n) FROM pulls", repo,
                         &total);
    if (rc == SQLITE_OK && !repo) rc = read_number(db, "SELECT n FROM pulls WHERE repo = ''", NULL, &other);
    if (rc == SQLITE_OK) rc = read_most(db, repo, max, most);
    if (rc != SQLITE_OK) {
        json_decref(most);
        return ERR_INTERNAL;
    }
    *out = json_pack("{s:I, s:I, s:o}", "total", (json_int_t)total, "other", (json_int_t)other, "most", most);
    return 0;
}
