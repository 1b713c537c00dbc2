/* Schema, statements and loading of index.db. Thread: see index.h.
 *
 * A digest is stored as its algorithm byte and its raw bytes. The scopes of a blob are two numbers packed in its row,
 * as in memory, so that loading a million rows joins nothing; the few that have more keep them in more_scopes. */
#include "common/store/index.h"

#include <stdio.h>
#include <string.h>

#include "common/db/writer.h"

const char index_schema[] =
    "PRAGMA application_id = 0x456e7472;"
    "PRAGMA user_version = 1;"
    "CREATE TABLE IF NOT EXISTS media_types(id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS scopes(id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS blobs(digest BLOB PRIMARY KEY, size INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " media INTEGER NOT NULL, scopes INTEGER NOT NULL, used_at INTEGER NOT NULL, freq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS more_scopes(digest BLOB, scope INTEGER, PRIMARY KEY(digest, scope)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS children(parent BLOB, child BLOB, PRIMARY KEY(parent, child)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS repo_manifests(repo TEXT, digest BLOB, PRIMARY KEY(repo, digest)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS repo_manifests_by_digest ON repo_manifests(digest);"
    "CREATE TABLE IF NOT EXISTS tags(repo TEXT, tag TEXT, digest BLOB NOT NULL, checked_at INTEGER NOT NULL,"
    " size INTEGER NOT NULL, media TEXT NOT NULL, deleted INTEGER NOT NULL, PRIMARY KEY(repo, tag)) WITHOUT ROWID;";
_Static_assert(INDEX_VERSION == 1, "user_version in the schema is INDEX_VERSION");

enum statement {
    PUT_BLOB,
    ADOPT_BLOB,
    PUT_SCOPE_OF,
    PUT_CHILD,
    PUT_REPO,
    PUT_USED,
    DROP_BLOB,
    DROP_SCOPES_OF,
    DROP_CHILDREN,
    DROP_REPO,
    PUT_MEDIA,
    PUT_SCOPE,
    DROP_SCOPE,
    PUT_TAG,
    DROP_TAG,
    N_STATEMENTS
};
_Static_assert(N_STATEMENTS <= sizeof(((struct index *)0)->statements) / sizeof(sqlite3_stmt *), "room for all");

static const char *const sql[N_STATEMENTS] = {
    [PUT_BLOB] = ("INSERT INTO blobs VALUES(?1,?2,?3,?4,?5,?6,0) ON CONFLICT(digest) DO UPDATE SET"
                  " size=?2, flags=?3, media=?4, scopes=?5"),
    [ADOPT_BLOB] = "INSERT OR IGNORE INTO blobs VALUES(?1,?2,?3,?4,?5,?6,0)",
    [PUT_SCOPE_OF] = "INSERT OR IGNORE INTO more_scopes VALUES(?1,?2)",
    [PUT_CHILD] = "INSERT OR IGNORE INTO children VALUES(?1,?2)",
    [PUT_REPO] = "INSERT OR IGNORE INTO repo_manifests(digest, repo) VALUES(?1,?2)",
    [PUT_USED] = "UPDATE blobs SET used_at=?2, freq=?3 WHERE digest=?1",
    [DROP_BLOB] = "DELETE FROM blobs WHERE digest=?1",
    [DROP_SCOPES_OF] = "DELETE FROM more_scopes WHERE digest=?1",
    [DROP_CHILDREN] = "DELETE FROM children WHERE parent=?1",
    [DROP_REPO] = "DELETE FROM repo_manifests WHERE digest=?1",
    [PUT_MEDIA] = "INSERT OR REPLACE INTO media_types VALUES(?1,?2)",
    [PUT_SCOPE] = "INSERT OR REPLACE INTO scopes VALUES(?1,?2)",
    [DROP_SCOPE] = "DELETE FROM scopes WHERE id=?1",
    [PUT_TAG] = "INSERT OR REPLACE INTO tags VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [DROP_TAG] = "DELETE FROM tags WHERE repo=?1 AND tag=?2",
};

/* NULL: it could not be prepared, and db says why. */
static sqlite3_stmt *statement(struct index *ix, sqlite3 *db, enum statement which) {
    return db_prepared(db, &ix->statements[which], sql[which]);
}

static int execute(sqlite3 *db, sqlite3_stmt *st) {
    int r = st && sqlite3_step(st) == SQLITE_DONE ? 0 : db_error_code(db);
    db_reset(st);
    return r;
}

static int put_blob(struct index *ix, sqlite3 *db, enum statement which, const struct digest *d,
                    const struct table_value *v, int64_t used_at) {
    sqlite3_stmt *st = statement(ix, db, which);
    if (st) {
        db_bind_digest(st, 1, d);
        sqlite3_bind_int64(st, 2, v->size);
        sqlite3_bind_int64(st, 3, v->flags);
        sqlite3_bind_int64(st, 4, v->media);
        sqlite3_bind_int64(st, 5, (int64_t)v->scopes[0] | (int64_t)v->scopes[1] << 24);
        sqlite3_bind_int64(st, 6, used_at);
    }
    return execute(db, st);
}

int index_put_blob(struct index *ix, sqlite3 *db, const struct digest *d, const struct table_value *v,
                   int64_t used_at) {
    return put_blob(ix, db, PUT_BLOB, d, v, used_at);
}

int index_adopt_blob(struct index *ix, sqlite3 *db, const struct digest *d, const struct table_value *v,
                     int64_t used_at) {
    return put_blob(ix, db, ADOPT_BLOB, d, v, used_at);
}

/* Statements of a digest and perhaps one number, one text or another digest. */
static int run_digest(struct index *ix, sqlite3 *db, enum statement which, const struct digest *d) {
    sqlite3_stmt *st = statement(ix, db, which);
    if (st) db_bind_digest(st, 1, d);
    return execute(db, st);
}

int index_put_scope_of(struct index *ix, sqlite3 *db, const struct digest *d, uint32_t scope) {
    sqlite3_stmt *st = statement(ix, db, PUT_SCOPE_OF);
    if (st) {
        db_bind_digest(st, 1, d);
        sqlite3_bind_int64(st, 2, scope);
    }
    return execute(db, st);
}

int index_put_children(struct index *ix, sqlite3 *db, const struct digest *parent, const struct digest *children,
                       size_t n) {
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        sqlite3_stmt *st = statement(ix, db, PUT_CHILD);
        if (st) {
            db_bind_digest(st, 1, parent);
            db_bind_digest(st, 2, &children[i]);
        }
        r = execute(db, st);
    }
    return r;
}

int index_put_repo(struct index *ix, sqlite3 *db, const char *repo, const struct digest *manifest) {
    sqlite3_stmt *st = statement(ix, db, PUT_REPO);
    if (st) {
        db_bind_digest(st, 1, manifest);
        sqlite3_bind_text(st, 2, repo, -1, SQLITE_TRANSIENT);
    }
    return execute(db, st);
}

int index_put_used(struct index *ix, sqlite3 *db, const struct digest *d, int64_t used_at, unsigned freq) {
    sqlite3_stmt *st = statement(ix, db, PUT_USED);
    if (st) {
        db_bind_digest(st, 1, d);
        sqlite3_bind_int64(st, 2, used_at);
        sqlite3_bind_int64(st, 3, freq);
    }
    return execute(db, st);
}

int index_drop_blob(struct index *ix, sqlite3 *db, const struct digest *d, bool manifest) {
    int r = run_digest(ix, db, DROP_BLOB, d);
    if (r == 0) r = run_digest(ix, db, DROP_SCOPES_OF, d);
    if (r == 0 && manifest) r = run_digest(ix, db, DROP_CHILDREN, d);
    if (r == 0 && manifest) r = run_digest(ix, db, DROP_REPO, d);
    return r;
}

static int put_name(struct index *ix, sqlite3 *db, enum statement which, uint32_t id, const char *name) {
    sqlite3_stmt *st = statement(ix, db, which);
    if (st) {
        sqlite3_bind_int64(st, 1, id);
        sqlite3_bind_text(st, 2, name, -1, SQLITE_TRANSIENT);
    }
    return execute(db, st);
}

int index_put_media(struct index *ix, sqlite3 *db, uint32_t id, const char *name) {
    return put_name(ix, db, PUT_MEDIA, id, name);
}

int index_put_scope(struct index *ix, sqlite3 *db, uint32_t id, const char *name) {
    return put_name(ix, db, PUT_SCOPE, id, name);
}

int index_drop_scope(struct index *ix, sqlite3 *db, uint32_t id) {
    sqlite3_stmt *st = statement(ix, db, DROP_SCOPE);
    if (st) sqlite3_bind_int64(st, 1, id);
    return execute(db, st);
}

int index_put_tag(struct index *ix, sqlite3 *db, const char *repo, const char *tag, const struct tag_facts *rec) {
    sqlite3_stmt *st = statement(ix, db, PUT_TAG);
    if (st) {
        sqlite3_bind_text(st, 1, repo, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(st, 2, tag, -1, SQLITE_TRANSIENT);
        db_bind_digest(st, 3, &rec->digest);
        sqlite3_bind_int64(st, 4, rec->checked_at);
        sqlite3_bind_int64(st, 5, rec->size);
        sqlite3_bind_text(st, 6, rec->media_type, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int(st, 7, rec->deleted);
    }
    return execute(db, st);
}

int index_drop_tag(struct index *ix, sqlite3 *db, const char *repo, const char *tag) {
    sqlite3_stmt *st = statement(ix, db, DROP_TAG);
    if (st) {
        sqlite3_bind_text(st, 1, repo, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(st, 2, tag, -1, SQLITE_TRANSIENT);
    }
    return execute(db, st);
}

/* --- loading --- */

static int pragma_int(sqlite3 *db, const char *query, int64_t *out) {
    sqlite3_stmt *st = NULL;
    sqlite3_prepare_v2(db, query, -1, &st, NULL);
    int rc = st ? sqlite3_step(st) : SQLITE_ERROR;
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    int r = rc == SQLITE_ROW ? 0 : db_error_code(db);
    sqlite3_finalize(st);
    return r;
}

int index_check(sqlite3 *db, struct error *err) {
    int64_t version = 0, tables = 0;
    int r = pragma_int(db, "SELECT count(*) FROM sqlite_master", &tables);
    if (r == 0) r = pragma_int(db, "PRAGMA user_version", &version);
    if (r < 0) return db_error(db, err, "reading the index");
    if (tables == 0) return 1;
    if (version == INDEX_VERSION) return 0;
    return error_set(err, ERR_CORRUPT, "the index has version %lld, this program knows %d", (long long)version,
                     INDEX_VERSION);
}

static bool load_media(sqlite3_stmt *st, const struct index_loader *l) {
    const char *name = (const char *)sqlite3_column_text(st, 1);
    int64_t id = sqlite3_column_int64(st, 0);
    return name && id > 0 && id < UINT32_MAX && l->media((uint32_t)id, name, l->arg);
}

static bool load_scope(sqlite3_stmt *st, const struct index_loader *l) {
    const char *name = (const char *)sqlite3_column_text(st, 1);
    int64_t id = sqlite3_column_int64(st, 0);
    return name && id > 0 && id < UINT32_MAX && l->scope((uint32_t)id, name, l->arg);
}

static bool load_count(sqlite3_stmt *st, const struct index_loader *l) {
    l->count(sqlite3_column_int64(st, 0), l->arg);
    return true;
}

static bool load_blob(sqlite3_stmt *st, const struct index_loader *l) {
    struct digest d;
    int64_t size = sqlite3_column_int64(st, 1), media = sqlite3_column_int64(st, 3);
    int64_t scopes = sqlite3_column_int64(st, 4), used = sqlite3_column_int64(st, 5);
    if (!db_column_digest(st, 0, &d) || size < 0 || size > TABLE_SIZE_MAX || media < 0 || media > UINT16_MAX)
        return false;
    struct table_value v = {.size = size,
                            .flags = sqlite3_column_int(st, 2) & 0xff,
                            .media = (uint16_t)media,
                            .scopes = {scopes & 0xffffff, (scopes >> 24) & 0xffffff}};
    return l->blob(&d, &v, used < 0 || used > UINT32_MAX ? 0 : (uint32_t)used, sqlite3_column_int(st, 6) & 3, l->arg);
}

static bool load_scope_of(sqlite3_stmt *st, const struct index_loader *l) {
    struct digest d;
    int64_t scope = sqlite3_column_int64(st, 1);
    if (!db_column_digest(st, 0, &d) || scope <= 0 || scope > 0xffffff) return false;
    l->scope_of(&d, (uint32_t)scope, l->arg);
    return true;
}

static bool load_tag(sqlite3_stmt *st, const struct index_loader *l) {
    const char *repo = (const char *)sqlite3_column_text(st, 0), *tag = (const char *)sqlite3_column_text(st, 1);
    const char *media = (const char *)sqlite3_column_text(st, 5);
    struct tag_facts rec = {.checked_at = sqlite3_column_int64(st, 3),
                            .size = sqlite3_column_int64(st, 4),
                            .deleted = sqlite3_column_int(st, 6)};
    if (!repo || !tag || !media || !db_column_digest(st, 2, &rec.digest)) return false;
    snprintf(rec.media_type, sizeof(rec.media_type), "%s", media);
    l->tag(repo, tag, &rec, l->arg);
    return true;
}

static const struct {
    const char *query;
    bool (*row)(sqlite3_stmt *st, const struct index_loader *l);
} loads[] = {
    {"SELECT id, name FROM media_types", load_media},
    {"SELECT id, name FROM scopes", load_scope},
    {"SELECT count(*) FROM blobs", load_count},
    {"SELECT digest, size, flags, media, scopes, used_at, freq FROM blobs", load_blob},
    {"SELECT digest, scope FROM more_scopes", load_scope_of},
    {"SELECT repo, tag, digest, checked_at, size, media, deleted FROM tags", load_tag},
};

int index_load(sqlite3 *db, const struct index_loader *l, struct error *err) {
    int rc = SQLITE_DONE;
    for (size_t i = 0; i < ARRAY_LEN(loads) && rc == SQLITE_DONE; i++) {
        sqlite3_stmt *st = NULL;
        rc = sqlite3_prepare_v2(db, loads[i].query, -1, &st, NULL);
        if (rc != SQLITE_OK) break;
        bool sane = true;
        while (sane && (rc = sqlite3_step(st)) == SQLITE_ROW)
            sane = loads[i].row(st, l);
        sqlite3_finalize(st);
        if (!sane) return error_set(err, ERR_CORRUPT, "the index contains an invalid row");
    }
    return rc == SQLITE_DONE ? 0 : db_error(db, err, "reading the index");
}
