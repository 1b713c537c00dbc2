/* Opens catalog.db and closes it: the schema, the pool of readers, and what to do with a damaged file. Thread: control,
 * but for the counters. */
#include "central/catalog/changes.h"

#include "common/core/alloc.h"
#include "common/core/file.h"
#include "common/core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SCHEMA_VERSION 2
#define BATCH 512

/* STRICT makes a damaged or foreign file fail early instead of giving values of odd types. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS log(seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " key BLOB NOT NULL, payload BLOB NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS blobs(digest BLOB PRIMARY KEY, size INTEGER NOT NULL, held INTEGER NOT NULL,"
    " changed INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS blobs_not_held ON blobs(changed) WHERE held = 0;"
    "CREATE TABLE IF NOT EXISTS manifests(digest BLOB PRIMARY KEY, media_type TEXT NOT NULL, size INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS children(parent BLOB NOT NULL, position INTEGER NOT NULL, child BLOB NOT NULL,"
    " size INTEGER NOT NULL, kind INTEGER NOT NULL, is_foreign INTEGER NOT NULL, os TEXT NOT NULL, arch TEXT NOT NULL,"
    " variant TEXT NOT NULL, PRIMARY KEY(parent, position)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS children_by_child ON children(child, size);"
    "CREATE TABLE IF NOT EXISTS tags(repo TEXT NOT NULL, tag TEXT NOT NULL, digest BLOB NOT NULL, size INTEGER NOT "
    "NULL,"
    " media_type TEXT NOT NULL, checked_at INTEGER NOT NULL, deleted INTEGER NOT NULL, hosted INTEGER NOT NULL,"
    " PRIMARY KEY(repo, tag)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS tags_hosted ON tags(digest) WHERE hosted = 1;"
    "CREATE INDEX IF NOT EXISTS tags_by_check ON tags(checked_at) WHERE hosted = 0;"
    "CREATE TABLE IF NOT EXISTS place(id INTEGER PRIMARY KEY, epoch BLOB NOT NULL, number INTEGER NOT NULL,"
    " digest BLOB NOT NULL, seen INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS tiles(tile INTEGER PRIMARY KEY, records INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS proofs(digest BLOB PRIMARY KEY, proofs BLOB NOT NULL) STRICT;"
    "PRAGMA user_version = 2;";

static void suffixed(char *out, size_t cap, const char *path, const char *suffix) {
    snprintf(out, cap, "%s%s", path, suffix);
}

static int put_aside(const char *path, const char *why, struct error *err) {
    log_warn("catalog_put_aside", KV_S("path", path), KV_S("why", why),
             KV_S("then", "it is kept as catalog.db.damaged; a new catalogue is begun; it fills as images are pulled"));
    return db_put_aside(path, err);
}

static int text_of(sqlite3 *db, const char *sql, char *out, size_t cap) {
    sqlite3_stmt *st = NULL;
    out[0] = '\0';
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) snprintf(out, cap, "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : rc;
}

/* Why the file cannot be used, or "". A whole check only when the last run left its mark: it reads everything. */
static void examine(const char *path, bool suspect, char why[256]) {
    sqlite3 *db = NULL;
    char got[256];
    why[0] = '\0';
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK) db_keep_log(db);
    if (rc == SQLITE_OK) rc = text_of(db, "PRAGMA user_version", got, sizeof(got));
    if (rc == SQLITE_OK && strcmp(got, "0") != 0 && atoi(got) != SCHEMA_VERSION)
        snprintf(why, 256, "it was made by another version of this program (schema %.20s)", got);
    if (rc == SQLITE_OK) rc = text_of(db, "SELECT count(*) FROM sqlite_schema", got, sizeof(got));
    if (rc == SQLITE_OK && suspect) rc = text_of(db, "PRAGMA quick_check(1)", got, sizeof(got));
    if (rc == SQLITE_OK && suspect && strcmp(got, "ok") != 0) snprintf(why, 256, "%.200s", got);
    if (db_is_damage(rc)) snprintf(why, 256, "%s", sqlite3_errstr(rc));
    sqlite3_close(db);
}

static int check_file(const char *path, struct error *err) {
    char mark[4096], why[256];
    suffixed(mark, sizeof(mark), path, ".suspect");
    if (access(path, F_OK) < 0) {
        unlink(mark);
        return 0;
    }
    examine(path, access(mark, F_OK) == 0, why);
    int r = why[0] ? put_aside(path, why, err) : 0;
    if (r == 0) unlink(mark);
    return r;
}

void catalog_suspect(struct catalog *c, int sqlite_code) {
    if (!db_is_damage(sqlite_code) || atomic_exchange(&c->damage_seen, true)) return;
    log_error("catalog_damaged", KV_S("path", c->path), KV_S("why", sqlite3_errstr(sqlite_code)),
              KV_S("then", "it is checked, and begun anew if need be, at the next start"));
    char mark[4096];
    suffixed(mark, sizeof(mark), c->path, ".suspect");
    int fd = open(mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
}

static int load_sequence(struct catalog *c, struct error *err) {
    char seq[64];
    int rc = text_of(c->readers[0].db, "SELECT seq FROM sqlite_sequence WHERE name = 'log'", seq, sizeof(seq));
    if (rc)
        return error_set(err, db_is_damage(rc) ? ERR_CORRUPT : ERR_INTERNAL, "reading %s: %s", c->path,
                         sqlite3_errstr(rc));
    atomic_store(&c->sequence, strtoull(seq, NULL, 10));
    return 0;
}

/* A file can shrink only if it was created so. What fails here, fails again in writer_open, which says why. */
static void create_file(const char *path) {
    sqlite3 *db = NULL;
    if (access(path, F_OK) == 0) return;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK) {
        db_keep_log(db);
        sqlite3_exec(db, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;", NULL, NULL, NULL);
    }
    sqlite3_close(db);
}

struct begin {
    struct writer_job job;
    struct changes *changes;
    int rc, code;
};

static void begin_changes(struct writer_job *job, sqlite3 *db) {
    struct begin *b = container_of(job, struct begin, job);
    b->rc = changes_begin(b->changes, db);
}

static void changes_begun(struct writer_job *job, int code) {
    container_of(job, struct begin, job)->code = code;
}

/* Before anything is learned. */
static int open_changes(struct catalog *c, struct error *err) {
    c->changes = changes_new();
    struct begin b = {.job = {.run = begin_changes, .after_commit = changes_begun}, .changes = c->changes};
    writer_submit(c->writer, &b.job);
    writer_flush(c->writer);
    if (b.rc == SQLITE_OK && b.code == 0) return 0;
    return error_set(err,
                     db_is_damage(b.rc) ? ERR_CORRUPT
                     : b.code < 0       ? b.code
                                        : ERR_INTERNAL,
                     "reading the change log of %s: %s", c->path, sqlite3_errstr(b.rc));
}

static int open_all(struct catalog *c, unsigned readers, struct error *err) {
    create_file(c->path);
    int r = writer_open(&c->writer, c->path, "catalog-writer", schema, BATCH, err);
    for (unsigned i = 0; i < readers && r == 0; i++) {
        r = reader_open(c, &c->readers[i], err);
        c->readers[i].next = c->free_readers;
        c->free_readers = &c->readers[i];
        c->n_readers++;
    }
    if (r == 0) r = open_changes(c, err);
    if (r == 0) r = load_sequence(c, err);
    c->prune = prune_new(c);
    return r;
}

static void close_all(struct catalog *c) {
    for (unsigned i = 0; i < c->n_readers; i++)
        reader_close(&c->readers[i]);
    c->n_readers = 0;
    atomic_store(&c->closing, true);
    c->free_readers = NULL;
    /* Runs what is queued, then finalizes all statements of its connection. */
    writer_close(c->writer);
    c->writer = NULL;
    write_stmts_free(c->stmts);
    c->stmts = NULL;
    changes_free(c->changes);
    c->changes = NULL;
    prune_free(c->prune);
    c->prune = NULL;
}

int catalog_open(struct catalog **out, const char *path, unsigned readers, struct error *err) {
    struct error local;
    if (!err) err = &local;
    int r = check_file(path, err);
    if (r < 0) return r;
    struct catalog *c = xcalloc(1, sizeof(*c));
    if (readers == 0) readers = 1;
    c->path = xstrdup(path);
    c->readers = xcalloc(readers, sizeof(*c->readers));
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->some, NULL);
    pthread_mutex_init(&c->follow_lock, NULL);
    r = open_all(c, readers, err);
    if (r == ERR_CORRUPT) {
        close_all(c);
        r = put_aside(path, err->msg, err);
        if (r == 0) r = open_all(c, readers, err);
    }
    if (r < 0) {
        error_wrap(err, "opening the catalogue %s", path);
        catalog_close(c);
        return r;
    }
    *out = c;
    return 0;
}

void catalog_on_recovery(struct catalog *c, void (*recovered)(void *arg), void *arg) {
    c->recovered = recovered;
    c->recovered_arg = arg;
}

void catalog_close(struct catalog *c) {
    if (!c) return;
    close_all(c);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->some);
    pthread_mutex_destroy(&c->follow_lock);
    free(c->readers);
    free(c->path);
    free(c);
}

void catalog_keep_log(struct catalog *c, int64_t entries) {
    c->log_entries = entries;
}

void catalog_follow(struct catalog *c, const struct catalog_follower *f) {
    pthread_mutex_lock(&c->follow_lock);
    c->follower = f ? *f : (struct catalog_follower){0};
    pthread_mutex_unlock(&c->follow_lock);
}

void catalog_changed(struct catalog *c, uint64_t number) {
    atomic_store(&c->sequence, number);
    pthread_mutex_lock(&c->follow_lock);
    if (c->follower.changed) c->follower.changed(c->follower.arg);
    pthread_mutex_unlock(&c->follow_lock);
}

void catalog_flush(struct catalog *c) {
    writer_flush(c->writer);
}

uint64_t catalog_sequence(struct catalog *c) {
    return atomic_load(&c->sequence);
}

void catalog_stats(struct catalog *c, struct catalog_stats *out) {
    out->learned = atomic_load(&c->learned);
    out->dropped = atomic_load(&c->dropped);
    out->failed = atomic_load(&c->failed);
    out->lookups = atomic_load(&c->lookups);
    out->bytes = atomic_load(&c->bytes);
    out->limit = c->limit;
    out->pruned = atomic_load(&c->pruned);
}
