/* Turns facts into rows and log lines. A fact is copied by whoever learned it and becomes a job of the writer; there it
 * is compared with what is known, and only a difference is logged. Thread: any for catalog_learn_*; the jobs run on the
 * writer. */
#include "central/catalog/changes.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

/* Bounds the memory of queued facts while the disk stalls. */
#define QUEUE_MAX_BYTES (64 * MiB)
#define TRIM_EVERY 1024

/* name, SQL */
#define WRITE_STATEMENTS(X)                                                                                           \
    X(GET_BLOB, "SELECT size, held FROM blobs WHERE digest = ?")                                                      \
    X(PUT_BLOB, "INSERT OR REPLACE INTO blobs(digest, size, held, changed) VALUES(?, ?, ?, ?)")                       \
    X(ADD_BLOB, "INSERT OR IGNORE INTO blobs(digest, size, held, changed) VALUES(?, ?, 0, ?)")                        \
    X(PUT_PROOFS, "INSERT OR IGNORE INTO proofs(digest, proofs) VALUES(?, ?)")                                        \
    X(PUT_MANIFEST, "INSERT OR IGNORE INTO manifests(digest, media_type, size) VALUES(?, ?, ?)")                      \
    X(PUT_CHILD, "INSERT OR IGNORE INTO children(parent, position, child, size, kind, is_foreign, os, arch, variant)" \
                 " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)")                                                                \
    X(GET_TAG, "SELECT repo, tag, digest, size, media_type, checked_at, deleted, hosted FROM tags"                    \
               " WHERE repo = ? AND tag = ?")                                                                         \
    X(PUT_TAG, "INSERT OR REPLACE INTO tags(repo, tag, digest, size, media_type, deleted, checked_at, hosted)"        \
               " VALUES(?, ?, ?, ?, ?, ?, ?, ?)")                                                                     \
    X(TRIM_LOG, "DELETE FROM log WHERE seq <= min(?1, (SELECT min(seq) FROM log) + ?2)")                              \
    X(SAVE, "SAVEPOINT fact")                                                                                         \
    X(UNDO, "ROLLBACK TO fact")                                                                                       \
    X(RELEASE, "RELEASE fact")

enum write_stmt {
#define X(name, sql) WRITE_##name,
    WRITE_STATEMENTS(X)
#undef X
        WRITE_COUNT
};
struct write_stmts {
    sqlite3_stmt *st[WRITE_COUNT]; /* finalized by writer_close */
};

struct fact {
    struct writer_job job;
    struct catalog *catalog;
    enum entry_kind kind;
    size_t bytes;
    bool failed;
    uint64_t sequence; /* of its last entry in the log; 0: nothing changed */
    struct digest digest;
    int64_t size;
    bool held;
    uint8_t *proofs;
    size_t proofs_len;
    struct manifest manifest;
    struct repo_name repo;
    char tag[TAG_MAX + 1];
    struct tag_facts facts; /* of the tag */
};

void write_stmts_free(struct write_stmts *s) {
    free(s);
}

static void fact_free(struct fact *f) {
    manifest_fini(&f->manifest);
    free(f->proofs);
    free(f);
}

static sqlite3_stmt *statement(struct catalog *c, sqlite3 *db, enum write_stmt which) {
    static const char *const sql[] = {
#define X(name, text) text,
        WRITE_STATEMENTS(X)
#undef X
    };
    if (!c->stmts) c->stmts = xcalloc(1, sizeof(*c->stmts));
    return db_prepared(db, &c->stmts->st[which], sql[which]);
}

static void bind_text(sqlite3_stmt *st, int at, const char *s) {
    sqlite3_bind_text(st, at, s, -1, SQLITE_STATIC);
}

static int run_simple(struct catalog *c, sqlite3 *db, enum write_stmt which) {
    return db_run(statement(c, db, which));
}

int catalog_trim_log(struct catalog *c, sqlite3 *db, uint64_t sequence) {
    int64_t keep = catalog_log_keep(c);
    if (sequence < c->trimmed_at + TRIM_EVERY || (int64_t)sequence <= keep) return SQLITE_OK;
    c->trimmed_at = sequence;
    sqlite3_stmt *st = statement(c, db, WRITE_TRIM_LOG);
    sqlite3_bind_int64(st, 1, (int64_t)sequence - keep);
    sqlite3_bind_int64(st, 2, 4 * TRIM_EVERY); /* in steps, so that a lowered limit does not stop the writer for long */
    return db_run(st);
}

/* was: the size that was known; -1: none. */
static int put_blob(struct fact *f, sqlite3 *db, int64_t was, int64_t size, bool held) {
    struct changes *ch = f->catalog->changes;
    uint64_t before = f->sequence;
    int rc = changes_blob(ch, db, &f->digest, was, size, &f->sequence);
    if (rc == SQLITE_OK && f->sequence == before)
        rc = changes_note_other(ch, db, held ? ENTRY_HELD : ENTRY_LOST, &f->digest, &f->sequence);
    if (rc) return rc;
    sqlite3_stmt *st = statement(f->catalog, db, WRITE_PUT_BLOB);
    db_bind_digest(st, 1, &f->digest);
    sqlite3_bind_int64(st, 2, size);
    sqlite3_bind_int(st, 3, held);
    sqlite3_bind_int64(st, 4, (int64_t)f->sequence);
    rc = db_run(st);
    return rc ? rc : catalog_trim_log(f->catalog, db, f->sequence);
}

/* SQLITE_ROW and what is known, SQLITE_DONE if nothing is. */
static int get_blob(struct fact *f, sqlite3 *db, int64_t *size, bool *held) {
    sqlite3_stmt *st = statement(f->catalog, db, WRITE_GET_BLOB);
    if (!st) return SQLITE_MISUSE;
    db_bind_digest(st, 1, &f->digest);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *size = sqlite3_column_int64(st, 0);
        *held = sqlite3_column_int(st, 1) != 0;
    }
    sqlite3_reset(st);
    return rc;
}

static int apply_blob(struct fact *f, sqlite3 *db) {
    int64_t size = -1;
    bool held = false;
    int rc = get_blob(f, db, &size, &held);
    bool news = rc == SQLITE_DONE || (rc == SQLITE_ROW && f->held && (!held || size != f->size));
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return rc;
    rc = news ? put_blob(f, db, size, f->size, f->held) : SQLITE_OK;
    if (rc || !f->proofs_len) return rc;
    sqlite3_stmt *st = statement(f->catalog, db, WRITE_PUT_PROOFS);
    db_bind_digest(st, 1, &f->digest);
    sqlite3_bind_blob64(st, 2, f->proofs, f->proofs_len, SQLITE_STATIC);
    return db_run(st);
}

/* The blob has come into the store, or was lost from it. */
static int apply_held(struct fact *f, sqlite3 *db) {
    int64_t size = -1;
    bool held = false, now = f->kind == ENTRY_HELD;
    int rc = get_blob(f, db, &size, &held);
    if (rc == SQLITE_ROW) return held != now ? put_blob(f, db, size, size, now) : SQLITE_OK;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int put_child(struct fact *f, sqlite3 *db, size_t position) {
    const struct manifest_child *m = &f->manifest.children[position];
    sqlite3_stmt *st = statement(f->catalog, db, WRITE_PUT_CHILD);
    db_bind_digest(st, 1, &f->digest);
    sqlite3_bind_int64(st, 2, (int64_t)position);
    db_bind_digest(st, 3, &m->digest);
    sqlite3_bind_int64(st, 4, m->size);
    sqlite3_bind_int(st, 5, (int)m->kind);
    sqlite3_bind_int(st, 6, m->foreign);
    bind_text(st, 7, m->os);
    bind_text(st, 8, m->arch);
    bind_text(st, 9, m->variant);
    return db_run(st);
}

/* Pruning walks the table of blobs, so a manifest gets a row there even if the fact of its blob was dropped. */
static int add_blob_of_manifest(struct fact *f, sqlite3 *db) {
    sqlite3_stmt *st = statement(f->catalog, db, WRITE_ADD_BLOB);
    db_bind_digest(st, 1, &f->digest);
    sqlite3_bind_int64(st, 2, f->size);
    sqlite3_bind_int64(st, 3, (int64_t)f->sequence);
    int rc = db_run(st);
    if (rc || sqlite3_changes(db) == 0) return rc;
    return changes_blob(f->catalog->changes, db, &f->digest, -1, f->size, &f->sequence);
}

/* Written only once: the children of a manifest never change, because its digest names its bytes. */
static int apply_manifest(struct fact *f, sqlite3 *db) {
    sqlite3_stmt *st = statement(f->catalog, db, WRITE_PUT_MANIFEST);
    db_bind_digest(st, 1, &f->digest);
    bind_text(st, 2, f->manifest.media_type);
    sqlite3_bind_int64(st, 3, f->size);
    int rc = db_run(st);
    if (rc || sqlite3_changes(db) == 0) return rc;
    for (size_t i = 0; i < f->manifest.n_children && rc == SQLITE_OK; i++)
        rc = put_child(f, db, i);
    if (rc) return rc;
    rc = changes_manifest(f->catalog->changes, db, &f->digest, false, &f->sequence);
    if (rc == SQLITE_OK) rc = add_blob_of_manifest(f, db);
    return rc ? rc : catalog_trim_log(f->catalog, db, f->sequence);
}

static bool same_tag(const struct tag_facts *a, const struct tag_facts *b) {
    return digest_eq(&a->digest, &b->digest) && a->size == b->size && strcmp(a->media_type, b->media_type) == 0 &&
           a->deleted == b->deleted;
}

static int apply_tag(struct fact *f, sqlite3 *db) {
    const struct tag_facts *t = &f->facts;
    char repo[REPO_STR_MAX];
    struct wire_tag was;
    repo_name_str(&f->repo, repo);
    sqlite3_stmt *st = statement(f->catalog, db, WRITE_GET_TAG);
    if (!st) return SQLITE_MISUSE;
    bind_text(st, 1, repo);
    bind_text(st, 2, f->tag);
    int rc = sqlite3_step(st);
    bool known = rc == SQLITE_ROW && catalog_read_tag(st, &was);
    db_reset(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return rc;
    /* The store may tell at the start of an earlier check than the last one. */
    if (known && same_tag(&was.facts, t) && t->checked_at <= was.facts.checked_at) return SQLITE_OK;
    rc = changes_tag(f->catalog->changes, db, &f->repo, f->tag, known ? &was.facts : NULL, t, &f->sequence);
    if (rc) return rc;

    st = statement(f->catalog, db, WRITE_PUT_TAG);
    bind_text(st, 1, repo);
    bind_text(st, 2, f->tag);
    db_bind_digest(st, 3, &t->digest);
    sqlite3_bind_int64(st, 4, t->size);
    bind_text(st, 5, t->media_type);
    sqlite3_bind_int(st, 6, t->deleted);
    sqlite3_bind_int64(st, 7, t->checked_at);
    sqlite3_bind_int(st, 8, f->repo.upstream[0] == '\0');
    rc = db_run(st);
    return rc ? rc : catalog_trim_log(f->catalog, db, f->sequence);
}

/* Each fact has a savepoint, so that it is whole or absent even if another of the transaction fails. */
static void apply(struct writer_job *job, sqlite3 *db) {
    static int (*const by_kind[])(struct fact *, sqlite3 *) = {
        [ENTRY_BLOB] = apply_blob, [ENTRY_MANIFEST] = apply_manifest, [ENTRY_TAG] = apply_tag,
        [ENTRY_LOST] = apply_held, [ENTRY_HELD] = apply_held,
    };
    struct fact *f = container_of(job, struct fact, job);
    int rc = run_simple(f->catalog, db, WRITE_SAVE);
    if (rc == SQLITE_OK) {
        rc = by_kind[f->kind](f, db);
        if (rc != SQLITE_OK) {
            f->failed = true;
            catalog_suspect(f->catalog, rc);
            changes_forget(f->catalog->changes);
            if (sqlite3_get_autocommit(db)) return;
            run_simple(f->catalog, db, WRITE_UNDO);
        }
        run_simple(f->catalog, db, WRITE_RELEASE);
        prune_look(f->catalog->prune, db);
    } else {
        f->failed = true;
        catalog_suspect(f->catalog, rc);
    }
}

static void applied(struct writer_job *job, int code) {
    struct fact *f = container_of(job, struct fact, job);
    struct catalog *c = f->catalog;
    if (code == 0 && !f->failed) {
        if (f->sequence) catalog_changed(c, f->sequence);
        atomic_fetch_add(&c->learned, 1);
        if (atomic_exchange(&c->missed, false) && c->recovered) c->recovered(c->recovered_arg);
    } else {
        if (code < 0) changes_forget(c->changes);
        atomic_fetch_add(&c->failed, 1);
        if (code < 0) atomic_store(&c->missed, true);
    }
    atomic_fetch_sub(&c->queued_bytes, (int64_t)f->bytes);
    fact_free(f);
}

/* Room for a fact of so many bytes, or NULL when the queue is full. */
static struct fact *fact_new(struct catalog *c, enum entry_kind kind, const struct digest *d, size_t extra) {
    size_t bytes = sizeof(struct fact) + extra;
    if (atomic_fetch_add(&c->queued_bytes, (int64_t)bytes) + (int64_t)bytes > QUEUE_MAX_BYTES) {
        atomic_fetch_sub(&c->queued_bytes, (int64_t)bytes);
        if (atomic_fetch_add(&c->dropped, 1) % 10000 == 0)
            log_warn("catalog_queue_full", KV_S("path", c->path),
                     KV_S("then", "facts are dropped until the disk keeps up"));
        return NULL;
    }
    struct fact *f = xcalloc(1, sizeof(*f));
    *f = (struct fact){.job = {.run = apply, .after_commit = applied}, .catalog = c, .kind = kind, .bytes = bytes};
    if (d) f->digest = *d;
    return f;
}

static bool proofs_fit(const struct digest *d, int64_t size, size_t len) {
    if (!len || len > WIRE_MAX_PROOFS) return false;
    return (int64_t)(len / digest_len(d->alg)) == (size - 1) / PIECE_SIZE && len % digest_len(d->alg) == 0;
}

void catalog_learn_blob(struct catalog *c, const struct digest *d, int64_t size, bool held, const uint8_t *proofs,
                        size_t proofs_len) {
    if (!digest_len(d->alg) || size < 0) return;
    if (!proofs || !proofs_fit(d, size, proofs_len)) proofs_len = 0;
    struct fact *f = fact_new(c, ENTRY_BLOB, d, proofs_len);
    if (!f) return;
    f->size = size;
    f->held = held;
    if (proofs_len) {
        f->proofs = xmalloc(proofs_len);
        memcpy(f->proofs, proofs, proofs_len);
        f->proofs_len = proofs_len;
    }
    writer_submit(c->writer, &f->job);
}

void catalog_learn_manifest(struct catalog *c, const struct digest *d, const char *media_type, int64_t size,
                            const struct manifest *m) {
    if (!digest_len(d->alg) || size < 0) return;
    size_t bytes = m->n_children * sizeof(*m->children);
    struct fact *f = fact_new(c, ENTRY_MANIFEST, d, bytes);
    if (!f) return;
    f->size = size;
    media_type_clean(media_type && *media_type ? media_type : m->media_type, f->manifest.media_type);
    if (bytes) {
        f->manifest.children = xmalloc(bytes);
        memcpy(f->manifest.children, m->children, bytes);
        f->manifest.n_children = m->n_children;
    }
    writer_submit(c->writer, &f->job);
}

void catalog_learn_tag(struct catalog *c, const struct repo_name *repo, const char *tag, const struct tag_facts *t) {
    if (!digest_len(t->digest.alg)) return;
    struct fact *f = fact_new(c, ENTRY_TAG, NULL, 0);
    if (!f) return;
    f->repo = *repo;
    snprintf(f->tag, sizeof(f->tag), "%s", tag);
    f->facts = *t;
    writer_submit(c->writer, &f->job);
}

void catalog_blob_held(struct catalog *c, const struct digest *d) {
    struct fact *f = fact_new(c, ENTRY_HELD, d, 0);
    if (f) writer_submit(c->writer, &f->job);
}

void catalog_blob_lost(struct catalog *c, const struct digest *d) {
    struct fact *f = fact_new(c, ENTRY_LOST, d, 0);
    if (f) writer_submit(c->writer, &f->job);
}
