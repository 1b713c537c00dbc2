/* A rollback journal and synchronous=EXTRA: what was answered to an edge outlives a power cut, and joins are rare.
 * Thread: one at a time. */
#include "central/fleet/roster_db.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/db/db.h"

#define VERSION 1
/* How long an invite is kept after its end, so that whoever uses it is told that it was used or has expired. */
#define INVITE_KEPT_S (90 * 86400LL)

static const char schema[] =
    "BEGIN;"
    "PRAGMA application_id = 0x456e7466;"
    "PRAGMA user_version = 1;"
    "CREATE TABLE invites(id INTEGER PRIMARY KEY, secret BLOB NOT NULL UNIQUE, site TEXT NOT NULL,"
    " replaces TEXT NOT NULL, uses INTEGER NOT NULL, used INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
    " used_by TEXT NOT NULL, used_at INTEGER NOT NULL);"
    "CREATE TABLE edges(name TEXT PRIMARY KEY, site TEXT NOT NULL, state INTEGER NOT NULL, reason TEXT NOT NULL,"
    " generation INTEGER NOT NULL, key BLOB NOT NULL, joined_at INTEGER NOT NULL, not_after INTEGER NOT NULL,"
    " seen_at INTEGER NOT NULL, address TEXT NOT NULL, version TEXT NOT NULL,"
    " invite INTEGER, renewal BLOB, cert BLOB) WITHOUT ROWID;"
    "COMMIT;";

/* Added later; a version that does not know these tables leaves them alone. */
static const char additions[] =
    "CREATE TABLE IF NOT EXISTS trust(name TEXT PRIMARY KEY, roots INTEGER NOT NULL, issued INTEGER NOT NULL,"
    " shown INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS removals(name TEXT NOT NULL, key BLOB NOT NULL, until INTEGER NOT NULL,"
    " body BLOB NOT NULL, signature BLOB NOT NULL, signer BLOB NOT NULL, PRIMARY KEY(name, key)) WITHOUT ROWID;";

static int says(sqlite3 *db, const char *doing, struct error *err) {
    struct error own = {0};
    if (!err) err = &own;
    db_error(db, err, doing);
    return error_wrap(err, "fleet.db");
}

int roster_db_exec(sqlite3 *db, const char *sql, struct error *err) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : says(db, "writing", err);
}

static int64_t number(sqlite3 *db, const char *query) {
    sqlite3_stmt *st = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, query, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

static int prepare(sqlite3 *db, struct error *err) {
    int r =
        roster_db_exec(db, "PRAGMA journal_mode=PERSIST; PRAGMA synchronous=EXTRA; PRAGMA trusted_schema=OFF;", err);
    if (r < 0) return r;
    int64_t tables = number(db, "SELECT count(*) FROM sqlite_master");
    if (tables < 0) return says(db, "reading", err);
    if (tables == 0) {
        r = roster_db_exec(db, schema, err);
        return r < 0 ? r : roster_db_exec(db, additions, err);
    }
    if (number(db, "PRAGMA application_id") != 0x456e7466)
        return error_set(err, ERR_CORRUPT, "fleet.db is another program's database");
    if (number(db, "PRAGMA user_version") > VERSION) {
        error_set(err, ERR_UNSUPPORTED, "fleet.db was written by a newer version");
        error_hint(err, "start that version of entrepot-central");
        return ERR_UNSUPPORTED;
    }
    return roster_db_exec(db, additions, err);
}

int roster_db_open(sqlite3 **out, const char *path, struct error *err) {
    int r = db_open(out, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (r < 0) return error_wrap(err, "%s", path);
    r = prepare(*out, err);
    if (r == 0) return 0;
    sqlite3_close(*out);
    *out = NULL;
    return r;
}

/* A prepared statement, or NULL with err set. */
static sqlite3_stmt *statement(sqlite3 *db, const char *sql, struct error *err) {
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) return st;
    int r = says(db, "reading", err);
    (void)r;
    return NULL;
}

/* Runs a statement that returns nothing, and finalises it. */
static int run(sqlite3 *db, sqlite3_stmt *st, struct error *err) {
    int r = sqlite3_step(st) == SQLITE_DONE ? 0 : says(db, "writing", err);
    sqlite3_finalize(st);
    return r;
}

static void bind_text(sqlite3_stmt *st, int at, const char *text) {
    sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT);
}

static void copy_text(char *out, size_t cap, sqlite3_stmt *st, int column) {
    const unsigned char *text = sqlite3_column_text(st, column);
    snprintf(out, cap, "%s", text ? (const char *)text : "");
}

/* --- edges --- */

static bool read_edge(sqlite3_stmt *st, struct edge_facts *f) {
    *f = (struct edge_facts){.state = (enum edge_state)sqlite3_column_int(st, 2),
                             .generation = (uint64_t)sqlite3_column_int64(st, 4),
                             .joined_at = sqlite3_column_int64(st, 6),
                             .not_after = sqlite3_column_int64(st, 7),
                             .seen_at = sqlite3_column_int64(st, 8),
                             .roots = (uint64_t)sqlite3_column_int64(st, 11),
                             .issued = (uint64_t)sqlite3_column_int64(st, 12),
                             .shown = (uint64_t)sqlite3_column_int64(st, 13)};
    copy_text(f->name, sizeof(f->name), st, 0);
    copy_text(f->site, sizeof(f->site), st, 1);
    copy_text(f->reason, sizeof(f->reason), st, 3);
    copy_text(f->address, sizeof(f->address), st, 9);
    copy_text(f->version, sizeof(f->version), st, 10);
    const void *key = sqlite3_column_blob(st, 5);
    if (!key || sqlite3_column_bytes(st, 5) != sizeof(f->key) || !member_name_is_valid(f->name) ||
        !member_name_is_valid(f->site) || (unsigned)f->state > EDGE_REMOVED)
        return false;
    memcpy(f->key, key, sizeof(f->key));
    return true;
}

int roster_db_load(sqlite3 *db, void (*fn)(const struct edge_facts *f, void *arg), void *arg, struct error *err) {
    sqlite3_stmt *st = statement(db,
                                 "SELECT name, site, state, reason, generation, key, joined_at, not_after, seen_at,"
                                 " address, version, roots, issued, shown FROM edges LEFT JOIN trust USING(name)",
                                 err);
    struct edge_facts f;
    int rc, bad = 0;
    if (!st) return err->code;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (read_edge(st, &f))
            fn(&f, arg);
        else
            bad = error_set(err, ERR_CORRUPT, "fleet.db: the row of an edge is damaged");
    }
    int r = rc == SQLITE_DONE ? bad : says(db, "reading", err);
    sqlite3_finalize(st);
    return r;
}

static int put_trust(sqlite3 *db, const struct edge_facts *f, struct error *err) {
    sqlite3_stmt *st = statement(db, "INSERT OR REPLACE INTO trust VALUES(?1,?2,?3,?4)", err);
    if (!st) return err ? err->code : ERR_INTERNAL;
    bind_text(st, 1, f->name);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)f->roots);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)f->issued);
    sqlite3_bind_int64(st, 4, (sqlite3_int64)f->shown);
    return run(db, st, err);
}

static int put_edge(sqlite3 *db, const struct edge_facts *f, const struct edge_papers *papers, struct error *err) {
    sqlite3_stmt *st = statement(
        db,
        "INSERT INTO edges VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14) ON CONFLICT(name) DO UPDATE SET"
        " site=?2, state=?3, reason=?4, generation=?5, key=?6, joined_at=?7, not_after=?8, seen_at=?9, address=?10,"
        " version=?11, invite=coalesce(?12, invite), renewal=coalesce(?13, renewal), cert=coalesce(?14, cert)",
        err);
    if (!st) return err ? err->code : ERR_INTERNAL;
    bind_text(st, 1, f->name);
    bind_text(st, 2, f->site);
    sqlite3_bind_int(st, 3, (int)f->state);
    bind_text(st, 4, f->reason);
    sqlite3_bind_int64(st, 5, (sqlite3_int64)f->generation);
    sqlite3_bind_blob(st, 6, f->key, sizeof(f->key), SQLITE_TRANSIENT);
    sqlite3_bind_int64(st, 7, f->joined_at);
    sqlite3_bind_int64(st, 8, f->not_after);
    sqlite3_bind_int64(st, 9, f->seen_at);
    bind_text(st, 10, f->address);
    bind_text(st, 11, f->version);
    if (papers) {
        sqlite3_bind_int64(st, 12, papers->invite);
        sqlite3_bind_blob(st, 13, papers->renewal, sizeof(papers->renewal), SQLITE_TRANSIENT);
        sqlite3_bind_blob(st, 14, papers->cert, (int)papers->cert_len, SQLITE_TRANSIENT);
    }
    return run(db, st, err);
}

/* Both rows or none, also within a transaction of the caller's. */
int roster_db_put(sqlite3 *db, const struct edge_facts *f, const struct edge_papers *papers, struct error *err) {
    int r = roster_db_exec(db, "SAVEPOINT put", err);
    if (r < 0) return r;
    r = put_edge(db, f, papers, err);
    if (r == 0) r = put_trust(db, f, err);
    if (r == 0) r = roster_db_exec(db, "RELEASE put", err);
    if (r < 0) sqlite3_exec(db, "ROLLBACK TO put; RELEASE put", NULL, NULL, NULL);
    return r;
}

int roster_db_papers(sqlite3 *db, const char *name, struct edge_papers *out, struct error *err) {
    sqlite3_stmt *st = statement(db, "SELECT invite, renewal, cert FROM edges WHERE name=?1", err);
    *out = (struct edge_papers){0};
    if (!st) return err->code;
    bind_text(st, 1, name);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW) {
        const void *renewal = sqlite3_column_blob(st, 1), *cert = sqlite3_column_blob(st, 2);
        size_t len = (size_t)sqlite3_column_bytes(st, 2);
        out->invite = sqlite3_column_int64(st, 0);
        if (renewal && sqlite3_column_bytes(st, 1) == sizeof(out->renewal))
            memcpy(out->renewal, renewal, sizeof(out->renewal));
        out->cert = xmalloc(len + 1);
        if (cert) memcpy(out->cert, cert, len);
        out->cert_len = cert ? len : 0;
    } else {
        r = rc == SQLITE_DONE ? error_set(err, ERR_NOT_FOUND, "there is no edge %s", name) : says(db, "reading", err);
    }
    sqlite3_finalize(st);
    return r;
}

/* --- removals --- */

int roster_db_put_removal(sqlite3 *db, const struct wire_removal_body *b, const struct wire_removal *removal,
                          const struct wire_bytes *signer, struct error *err) {
    sqlite3_stmt *st = statement(db, "INSERT OR REPLACE INTO removals VALUES(?1,?2,?3,?4,?5,?6)", err);
    if (!st) return err->code;
    bind_text(st, 1, b->name);
    sqlite3_bind_blob(st, 2, b->key, sizeof(b->key), SQLITE_TRANSIENT);
    sqlite3_bind_int64(st, 3, b->until);
    sqlite3_bind_blob(st, 4, removal->body.data, (int)removal->body.len, SQLITE_TRANSIENT);
    sqlite3_bind_blob(st, 5, removal->signature.data, (int)removal->signature.len, SQLITE_TRANSIENT);
    sqlite3_bind_blob(st, 6, signer->data, (int)signer->len, SQLITE_TRANSIENT);
    return run(db, st, err);
}

bool roster_db_has_removal(sqlite3 *db, const struct wire_removal_body *b) {
    sqlite3_stmt *st = statement(db, "SELECT 1 FROM removals WHERE name=?1 AND key=?2", NULL);
    if (!st) return false;
    bind_text(st, 1, b->name);
    sqlite3_bind_blob(st, 2, b->key, sizeof(b->key), SQLITE_TRANSIENT);
    bool has = sqlite3_step(st) == SQLITE_ROW;
    sqlite3_finalize(st);
    return has;
}

static struct wire_bytes column(sqlite3_stmt *st, int i) {
    const void *data = sqlite3_column_blob(st, i);
    return (struct wire_bytes){(uint8_t *)(uintptr_t)data, (size_t)sqlite3_column_bytes(st, i)};
}

int roster_db_removals(sqlite3 *db, int64_t now,
                       void (*fn)(const struct wire_removal *removal, const struct wire_bytes *signer, void *arg),
                       void *arg, struct error *err) {
    sqlite3_stmt *st = statement(
        db, "SELECT body, signature, signer FROM removals WHERE until > ?1 ORDER BY until DESC, name, key", err);
    if (!st) return err->code;
    sqlite3_bind_int64(st, 1, now);
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct wire_removal removal = {.body = column(st, 0), .signature = column(st, 1)};
        const struct wire_bytes signer = column(st, 2);
        fn(&removal, &signer, arg);
    }
    int r = rc == SQLITE_DONE ? 0 : says(db, "reading", err);
    sqlite3_finalize(st);
    return r;
}

/* --- invites --- */

int roster_db_invite(sqlite3 *db, const struct invite *i, const struct digest *secret, struct error *err) {
    sqlite3_stmt *st = statement(db, "DELETE FROM invites WHERE expires_at < ?1", err);
    if (!st) return err->code;
    sqlite3_bind_int64(st, 1, clock_wall_s() - INVITE_KEPT_S);
    int r = run(db, st, err);
    if (r < 0) return r;
    st = statement(db,
                   "INSERT INTO invites(secret, site, replaces, uses, used, expires_at, used_by, used_at)"
                   " VALUES(?1,?2,?3,?4,0,?5,'',0)",
                   err);
    if (!st) return err->code;
    db_bind_digest(st, 1, secret);
    bind_text(st, 2, i->site);
    bind_text(st, 3, i->replaces);
    sqlite3_bind_int64(st, 4, i->uses);
    sqlite3_bind_int64(st, 5, i->expires_at);
    return run(db, st, err);
}

int roster_db_find_invite(sqlite3 *db, const struct digest *secret, struct invite_row *out, struct error *err) {
    sqlite3_stmt *st = statement(
        db, "SELECT id, site, replaces, uses, used, expires_at, used_by, used_at FROM invites WHERE secret=?1", err);
    *out = (struct invite_row){0};
    if (!st) return err->code;
    db_bind_digest(st, 1, secret);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW) {
        out->id = sqlite3_column_int64(st, 0);
        copy_text(out->site, sizeof(out->site), st, 1);
        copy_text(out->replaces, sizeof(out->replaces), st, 2);
        out->uses = (unsigned)sqlite3_column_int64(st, 3);
        out->used = (unsigned)sqlite3_column_int64(st, 4);
        out->expires_at = sqlite3_column_int64(st, 5);
        copy_text(out->used_by, sizeof(out->used_by), st, 6);
        out->used_at = sqlite3_column_int64(st, 7);
    } else {
        r = rc == SQLITE_DONE ? error_set(err, ERR_NOT_FOUND, "there is no such invite") : says(db, "reading", err);
    }
    sqlite3_finalize(st);
    return r;
}

int roster_db_use_invite(sqlite3 *db, int64_t id, const char *edge, int64_t now, struct error *err) {
    sqlite3_stmt *st = statement(db, "UPDATE invites SET used=used+1, used_by=?2, used_at=?3 WHERE id=?1", err);
    if (!st) return err->code;
    sqlite3_bind_int64(st, 1, id);
    bind_text(st, 2, edge);
    sqlite3_bind_int64(st, 3, now);
    return run(db, st, err);
}
