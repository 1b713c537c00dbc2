/* The SQL statements of hosted.db. It uses a rollback journal that is never removed (PERSIST), so that a commit is
 * durable with one sync of each file, and opening needs no space on a full disk. Thread: see hosted_db.h. */
#include "central/warehouse/hosted_db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/core/alloc.h"
#include "common/db/db.h"

#define VERSION 1

static const char schema[] =
    "BEGIN;"
    "PRAGMA application_id = 0x456e7468;"
    "PRAGMA user_version = 1;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE repositories(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE blobs(digest BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE members(digest BLOB, repo INTEGER, PRIMARY KEY(digest, repo)) WITHOUT ROWID;"
    "CREATE TABLE manifests(digest BLOB PRIMARY KEY, media TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE children(parent BLOB, child BLOB, PRIMARY KEY(parent, child)) WITHOUT ROWID;"
    "CREATE TABLE tags(repo INTEGER, tag TEXT, digest BLOB NOT NULL, size INTEGER NOT NULL, media TEXT NOT NULL,"
    " set_at INTEGER NOT NULL, PRIMARY KEY(repo, tag)) WITHOUT ROWID;"
    "COMMIT;";

static const char *const sql[HOSTED_STATEMENTS] = {
    [HOSTED_PUT_REPO] = "INSERT OR IGNORE INTO repositories(name) VALUES(?1)",
    [HOSTED_PUT_BLOB] = ("INSERT INTO blobs VALUES(?1,?2) ON CONFLICT(digest) DO UPDATE SET size=?2 WHERE ?2>=0"),
    [HOSTED_PUT_MEMBER] = "INSERT OR IGNORE INTO members(digest, repo) SELECT ?1, id FROM repositories WHERE name=?2",
    [HOSTED_PUT_MANIFEST] = "INSERT OR REPLACE INTO manifests VALUES(?1,?2)",
    [HOSTED_PUT_CHILD] = "INSERT OR IGNORE INTO children VALUES(?1,?2)",
    [HOSTED_PUT_TAG] = ("INSERT OR REPLACE INTO tags(repo, tag, digest, size, media, set_at)"
                        " SELECT id, ?2, ?3, ?4, ?5, ?6 FROM repositories WHERE name=?1"),
    [HOSTED_GET_BLOB] = "SELECT size, media FROM blobs LEFT JOIN manifests USING(digest) WHERE digest=?1",
    [HOSTED_GET_CHILDREN] = "SELECT child FROM children WHERE parent=?1",
    [HOSTED_GET_REPOS] = "SELECT name FROM members JOIN repositories ON id=repo WHERE digest=?1 ORDER BY name",
    [HOSTED_EACH_TAG] = ("SELECT name, tag, digest, size, media, set_at FROM tags JOIN repositories ON id=repo"
                         " ORDER BY name, tag"),
};

/* Prepares a statement when it is first needed. NULL on failure: see db_error_code. */
static sqlite3_stmt *statement(struct hosted_db *b, enum hosted_statement which) {
    sqlite3_stmt **st = &b->statements[which];
    if (!*st) sqlite3_prepare_v2(b->db, sql[which], -1, st, NULL);
    return *st;
}

static int says(struct hosted_db *b, const char *doing, struct error *err) {
    struct error own = {0};
    if (!err) err = &own;
    db_error(b->db, err, doing);
    return error_wrap(err, "hosted.db");
}

/* Steps st once, which is enough for a statement that writes, and makes it ready for its next use. */
static int step_once(struct hosted_db *b, sqlite3_stmt *st, struct error *err) {
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : says(b, "writing", err);
    db_reset(st);
    return r;
}

int hosted_db_exec(struct hosted_db *b, const char *text, struct error *err) {
    return sqlite3_exec(b->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : says(b, "writing", err);
}

/* --- opening --- */

static int64_t number(struct hosted_db *b, const char *query) {
    sqlite3_stmt *st = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(b->db, query, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Asks SQLite what is wrong with the file; the first finding is enough. */
static int check(struct hosted_db *b, struct error *err) {
    sqlite3_stmt *st = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(b->db, "PRAGMA quick_check(1)", -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW) {
        r = says(b, "checking", err);
    } else {
        const char *text = (const char *)sqlite3_column_text(st, 0);
        if (!text || strcmp(text, "ok") != 0) r = error_set(err, ERR_CORRUPT, "hosted.db: %.200s", text ? text : "?");
    }
    sqlite3_finalize(st);
    return r;
}

static int prepare(struct hosted_db *b, bool *made, struct error *err) {
    if (sqlite3_db_readonly(b->db, "main")) {
        error_set(err, -EACCES, "hosted.db may not be written by this user");
        error_hint(err, "make it, and all in the data folder, writable for user %u (chown -R)", (unsigned)geteuid());
        return -EACCES;
    }
    int r = hosted_db_exec(b, "PRAGMA journal_mode=PERSIST; PRAGMA synchronous=EXTRA; PRAGMA trusted_schema=OFF;", err);
    if (r < 0) return r;
    int64_t tables = number(b, "SELECT count(*) FROM sqlite_master");
    if (tables < 0) return says(b, "reading", err);
    *made = tables == 0;
    if (*made) return hosted_db_exec(b, schema, err);
    int64_t version = number(b, "PRAGMA user_version");
    if (number(b, "PRAGMA application_id") != 0x456e7468)
        return error_set(err, ERR_CORRUPT, "hosted.db is another program's database");
    if (version > VERSION) {
        error_set(err, ERR_UNSUPPORTED, "hosted.db was written by a newer version (%lld)", (long long)version);
        error_hint(err, "start that version of entrepot-central, or give this one a data folder of its own");
        return ERR_UNSUPPORTED;
    }
    return check(b, err);
}

int hosted_db_open(struct hosted_db *b, const char *path, bool *made, struct error *err) {
    *b = (struct hosted_db){0};
    int rc = sqlite3_open_v2(path, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    int r = b->db ? 0 : -ENOMEM;
    if (r == 0) {
        sqlite3_extended_result_codes(b->db, 1);
        sqlite3_busy_timeout(b->db, 10000);
        r = rc == SQLITE_OK ? prepare(b, made, err) : says(b, "opening", err);
    }
    if (r < 0) hosted_db_close(b);
    return r;
}

void hosted_db_close(struct hosted_db *b) {
    for (size_t i = 0; i < HOSTED_STATEMENTS; i++)
        sqlite3_finalize(b->statements[i]);
    sqlite3_close(b->db);
    *b = (struct hosted_db){0};
}

bool hosted_db_is_complete(struct hosted_db *b) {
    return number(b, "SELECT count(*) FROM meta WHERE key='complete'") == 1;
}

/* --- reading --- */

static void copy_text(char *out, size_t cap, const unsigned char *text) {
    snprintf(out, cap, "%s", text ? (const char *)text : "");
}

int hosted_db_each_tag(struct hosted_db *b,
                       void (*fn)(const char *repo, const char *tag, const struct tag_facts *t, void *arg), void *arg,
                       struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_EACH_TAG);
    int rc = st ? SQLITE_ROW : SQLITE_ERROR, bad = 0;
    while (st && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *repo = (const char *)sqlite3_column_text(st, 0), *tag = (const char *)sqlite3_column_text(st, 1);
        struct tag_facts t = {.size = sqlite3_column_int64(st, 3), .checked_at = sqlite3_column_int64(st, 5)};
        copy_text(t.media_type, sizeof(t.media_type), sqlite3_column_text(st, 4));
        if (repo && tag && db_column_digest(st, 2, &t.digest))
            fn(repo, tag, &t, arg);
        else
            bad = error_set(err, ERR_CORRUPT, "hosted.db: a tag without a digest");
    }
    int r = rc == SQLITE_DONE ? bad : says(b, "reading tags", err);
    if (st) sqlite3_reset(st);
    return r;
}

int hosted_db_load(struct hosted_db *b, const struct hosted_loader *l, struct error *err) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(b->db, "SELECT digest, size FROM blobs", -1, &st, NULL), bad = 0;
    while (st && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct digest d;
        if (db_column_digest(st, 0, &d))
            l->blob(&d, sqlite3_column_int64(st, 1), l->arg);
        else
            bad = error_set(err, ERR_CORRUPT, "hosted.db: a blob without a digest");
    }
    int r = rc == SQLITE_DONE ? bad : says(b, "reading blobs", err);
    sqlite3_finalize(st);
    int tags = hosted_db_each_tag(b, l->tag, l->arg, r == 0 ? err : NULL);
    return r < 0 ? r : tags;
}

int hosted_db_each_place(struct hosted_db *b,
                         void (*fn)(const struct digest *d, int64_t size, bool manifest, const char *repo, void *arg),
                         void *arg, struct error *err) {
    static const char query[] = "SELECT digest, size, media IS NOT NULL, name FROM blobs LEFT JOIN manifests"
                                " USING(digest) LEFT JOIN members USING(digest) LEFT JOIN repositories ON id=repo"
                                " ORDER BY digest";
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(b->db, query, -1, &st, NULL);
    while (st && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct digest d;
        if (!db_column_digest(st, 0, &d)) continue;
        fn(&d, sqlite3_column_int64(st, 1), sqlite3_column_int(st, 2), (const char *)sqlite3_column_text(st, 3), arg);
    }
    int r = rc == SQLITE_DONE ? 0 : says(b, "reading blobs", err);
    sqlite3_finalize(st);
    return r;
}

static int read_children(struct hosted_db *b, const struct digest *d, struct hosted_blob *out, struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_GET_CHILDREN);
    if (!st) return says(b, "reading", err);
    int rc;
    db_bind_digest(st, 1, d);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        out->children = xrealloc(out->children, out->n_children + 1, sizeof(*out->children));
        if (db_column_digest(st, 0, &out->children[out->n_children])) out->n_children++;
    }
    int r = rc == SQLITE_DONE ? 0 : says(b, "reading", err);
    sqlite3_reset(st);
    return r;
}

static int read_repos(struct hosted_db *b, const struct digest *d, char ***out, struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_GET_REPOS);
    if (!st) return says(b, "reading", err);
    size_t n = 0;
    char **repos = xcalloc(1, sizeof(char *));
    int rc;
    db_bind_digest(st, 1, d);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0);
        repos = xrealloc(repos, n + 2, sizeof(char *));
        repos[n] = xstrdup(name ? name : "");
        repos[++n] = NULL;
    }
    int r = rc == SQLITE_DONE ? 0 : says(b, "reading", err);
    sqlite3_reset(st);
    *out = repos;
    return r;
}

int hosted_db_find(struct hosted_db *b, const struct digest *d, struct hosted_blob *out, char ***repos,
                   struct error *err) {
    *out = (struct hosted_blob){.digest = *d, .size = -1};
    *repos = NULL;
    sqlite3_stmt *st = statement(b, HOSTED_GET_BLOB);
    if (!st) return says(b, "reading", err);
    db_bind_digest(st, 1, d);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW) {
        out->size = sqlite3_column_int64(st, 0);
        copy_text(out->media_type, sizeof(out->media_type), sqlite3_column_text(st, 1));
    } else {
        r = rc == SQLITE_DONE ? ERR_NOT_FOUND : says(b, "reading", err);
    }
    sqlite3_reset(st);
    if (r == 0) r = read_children(b, d, out, err);
    if (r == 0) r = read_repos(b, d, repos, err);
    if (r == 0) return 0;
    hosted_blob_fini(out);
    hosted_repos_free(*repos);
    *repos = NULL;
    return r;
}

/* --- writing --- */

static int put_children(struct hosted_db *b, const struct hosted_blob *blob, struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_PUT_CHILD);
    int r = st ? 0 : says(b, "writing", err);
    for (size_t i = 0; r == 0 && i < blob->n_children; i++) {
        db_bind_digest(st, 1, &blob->digest);
        db_bind_digest(st, 2, &blob->children[i]);
        r = step_once(b, st, err);
    }
    return r;
}

static int put_repo(struct hosted_db *b, const char *repo, struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_PUT_REPO);
    if (!st) return says(b, "writing", err);
    sqlite3_bind_text(st, 1, repo, -1, SQLITE_STATIC);
    return step_once(b, st, err);
}

static int put_member(struct hosted_db *b, const char *repo, const struct digest *d, struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_PUT_MEMBER);
    int r = st ? put_repo(b, repo, err) : says(b, "writing", err);
    if (r < 0) return r;
    db_bind_digest(st, 1, d);
    sqlite3_bind_text(st, 2, repo, -1, SQLITE_STATIC);
    return step_once(b, st, err);
}

int hosted_db_put(struct hosted_db *b, const char *repo, const struct hosted_blob *blob, struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_PUT_BLOB), *manifest = statement(b, HOSTED_PUT_MANIFEST);
    if (!st || !manifest) return says(b, "writing", err);
    db_bind_digest(st, 1, &blob->digest);
    sqlite3_bind_int64(st, 2, blob->size);
    int r = step_once(b, st, err);
    if (r == 0 && repo[0]) r = put_member(b, repo, &blob->digest, err);
    if (r < 0 || !blob->media_type[0]) return r;
    db_bind_digest(manifest, 1, &blob->digest);
    sqlite3_bind_text(manifest, 2, blob->media_type, -1, SQLITE_STATIC);
    r = step_once(b, manifest, err);
    return r < 0 ? r : put_children(b, blob, err);
}

int hosted_db_put_tag(struct hosted_db *b, const char *repo, const char *tag, const struct tag_facts *t,
                      struct error *err) {
    sqlite3_stmt *st = statement(b, HOSTED_PUT_TAG);
    int r = st ? put_repo(b, repo, err) : says(b, "writing", err);
    if (r < 0) return r;
    sqlite3_bind_text(st, 1, repo, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, tag, -1, SQLITE_STATIC);
    db_bind_digest(st, 3, &t->digest);
    sqlite3_bind_int64(st, 4, t->size);
    sqlite3_bind_text(st, 5, t->media_type, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 6, t->checked_at);
    return step_once(b, st, err);
}

/* --- reading a damaged file --- */

static void salvage_blobs(struct hosted_db *to, struct hosted_db *from) {
    sqlite3_stmt *st = NULL;
    struct error err = {0};
    sqlite3_prepare_v2(from->db, "SELECT digest, size FROM blobs", -1, &st, NULL);
    while (st && sqlite3_step(st) == SQLITE_ROW) {
        struct hosted_blob blob;
        struct digest d;
        char **repos;
        if (!db_column_digest(st, 0, &d)) continue;
        if (hosted_db_find(from, &d, &blob, &repos, NULL) < 0) {
            blob = (struct hosted_blob){.digest = d, .size = sqlite3_column_int64(st, 1)};
            repos = xcalloc(1, sizeof(char *));
        }
        int r = hosted_db_put(to, "", &blob, &err);
        for (char **repo = repos; r == 0 && *repo; repo++)
            r = put_member(to, *repo, &d, &err);
        hosted_blob_fini(&blob);
        hosted_repos_free(repos);
        if (r < 0) break;
    }
    sqlite3_finalize(st);
}

static void salvage_tag(const char *repo, const char *tag, const struct tag_facts *t, void *arg) {
    int r = hosted_db_put_tag(arg, repo, tag, t, NULL);
    (void)r; /* index and catalogue are asked for what is missing */
}

void hosted_db_salvage(struct hosted_db *b, const char *path) {
    struct hosted_db old = {0};
    if (sqlite3_open_v2(path, &old.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK &&
        hosted_db_exec(b, "BEGIN IMMEDIATE", NULL) == 0) {
        salvage_blobs(b, &old);
        int r = hosted_db_each_tag(&old, salvage_tag, b, NULL);
        (void)r; /* the file is damaged, so failures are expected */
        if (hosted_db_exec(b, "COMMIT", NULL) < 0) sqlite3_exec(b->db, "ROLLBACK", NULL, NULL, NULL);
    }
    hosted_db_close(&old);
}
