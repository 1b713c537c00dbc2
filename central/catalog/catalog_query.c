/* Answers from catalog.db by a few read-only connections. Thread: work pool; catalog_query_submit on the asker's loop.
 */
#include "central/catalog/catalog_private.h"
#include "common/core/alloc.h"

#include <stdio.h>
#include <string.h>

int reader_open(struct catalog *c, struct reader *r, struct error *err) {
    static const char *const sql[READ_COUNT] = {
        [READ_BLOB] = "SELECT size, held FROM blobs WHERE digest = ?",
        [READ_MANIFEST] = "SELECT media_type, size FROM manifests WHERE digest = ?",
        [READ_CHILDREN] = "SELECT child, size, kind, is_foreign, os, arch, variant FROM children WHERE parent = ?"
                          " ORDER BY position",
        [READ_CLAIMED] = "SELECT (SELECT min(size) FROM children WHERE child = ?1 AND size >= 0),"
                         " (SELECT max(size) FROM children WHERE child = ?1)",
        [READ_PROOFS] = "SELECT proofs FROM proofs WHERE digest = ?",
        [READ_HELD] = "SELECT digest FROM blobs WHERE held = 1 AND digest > ? ORDER BY digest LIMIT ?",
        [READ_TAGS] = "SELECT repo, tag, digest, size, media_type, checked_at, deleted, hosted FROM tags"
                      " ORDER BY repo, tag",
        [READ_PLACE] = "SELECT epoch, number, digest FROM place WHERE id = 1",
        [READ_TILES] = "SELECT tile, digest FROM tiles ORDER BY tile",
        [READ_TILE] = "SELECT digest FROM tiles WHERE tile = ?",
        [READ_LOG] = "SELECT seq, payload FROM log WHERE seq > ? AND kind NOT IN (4, 5) ORDER BY seq LIMIT ?",
        [READ_LOG_FIRST] = "SELECT min(seq) FROM log",
        [READ_LOG_AT] = "SELECT payload FROM log WHERE seq = ?",
        [READ_BLOBS_FROM] = "SELECT digest, size FROM blobs WHERE digest >= ? AND digest < ? ORDER BY digest",
        [READ_MANIFESTS_FROM] = "SELECT digest, media_type, size FROM manifests WHERE digest >= ? AND digest < ?"
                                " ORDER BY digest",
    };
    int code = writer_reader(c->writer, &r->db, err);
    if (code < 0) return code;
    for (int i = 0; i < READ_COUNT; i++) {
        int rc = sqlite3_prepare_v3(r->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &r->st[i], NULL);
        if (rc == SQLITE_OK) continue;
        bool damaged = db_is_damage(rc) || (rc & 0xff) == SQLITE_ERROR;
        return error_set(err, damaged ? ERR_CORRUPT : ERR_INTERNAL, "%s", sqlite3_errmsg(r->db));
    }
    return 0;
}

void reader_close(struct reader *r) {
    for (int i = 0; i < READ_COUNT; i++)
        sqlite3_finalize(r->st[i]);
    sqlite3_close(r->db);
    memset(r, 0, sizeof(*r));
}

struct reader *catalog_take_reader(struct catalog *c) {
    pthread_mutex_lock(&c->lock);
    while (!c->free_readers)
        pthread_cond_wait(&c->some, &c->lock);
    struct reader *r = c->free_readers;
    c->free_readers = r->next;
    pthread_mutex_unlock(&c->lock);
    return r;
}

void catalog_give_reader(struct catalog *c, struct reader *r) {
    pthread_mutex_lock(&c->lock);
    r->next = c->free_readers;
    c->free_readers = r;
    pthread_cond_signal(&c->some);
    pthread_mutex_unlock(&c->lock);
}

/* Binds the digest and takes the first row. */
static int first_row(struct reader *r, enum read_stmt which, const struct digest *d) {
    db_bind_digest(r->st[which], 1, d);
    return sqlite3_step(r->st[which]);
}

static void column_string(sqlite3_stmt *st, int col, char *out, size_t cap) {
    const char *s = (const char *)sqlite3_column_text(st, col);
    snprintf(out, cap, "%s", s ? s : "");
}

int catalog_read_child(sqlite3_stmt *st, struct manifest_child *c) {
    *c = (struct manifest_child){0};
    if (!db_column_digest(st, 0, &c->digest)) return SQLITE_CORRUPT;
    int kind = sqlite3_column_int(st, 2);
    if (kind < CHILD_CONFIG || kind > CHILD_SUBJECT) return SQLITE_CORRUPT;
    c->size = sqlite3_column_int64(st, 1);
    c->kind = (enum child_kind)kind;
    c->foreign = sqlite3_column_int(st, 3) != 0;
    column_string(st, 4, c->os, sizeof(c->os));
    column_string(st, 5, c->arch, sizeof(c->arch));
    column_string(st, 6, c->variant, sizeof(c->variant));
    return SQLITE_OK;
}

static int read_children(struct reader *r, struct catalog_fact *f, size_t *left) {
    struct manifest *m = &f->manifest;
    size_t cap = 0;
    int rc = first_row(r, READ_CHILDREN, &f->digest);
    for (; rc == SQLITE_ROW; rc = sqlite3_step(r->st[READ_CHILDREN])) {
        if (*left < sizeof(*m->children)) {
            f->code = ERR_TOO_BIG;
            rc = SQLITE_DONE;
            break;
        }
        *left -= sizeof(*m->children);
        if (m->n_children == cap) {
            cap = cap ? 2 * cap : 16;
            m->children = xrealloc(m->children, cap, sizeof(*m->children));
        }
        int bad = catalog_read_child(r->st[READ_CHILDREN], &m->children[m->n_children]);
        if (bad) {
            rc = bad;
            break;
        }
        m->n_children++;
    }
    db_reset(r->st[READ_CHILDREN]);
    return rc;
}

static int read_manifest(struct reader *r, struct catalog_fact *f, size_t *left) {
    int rc = first_row(r, READ_MANIFEST, &f->digest);
    if (rc == SQLITE_ROW) {
        f->code = 0;
        f->is_manifest = true;
        column_string(r->st[READ_MANIFEST], 0, f->manifest.media_type, sizeof(f->manifest.media_type));
        f->manifest.is_index = strcmp(f->manifest.media_type, MEDIA_OCI_INDEX) == 0 ||
                               strcmp(f->manifest.media_type, MEDIA_DOCKER_LIST) == 0;
        if (f->size < 0) f->size = sqlite3_column_int64(r->st[READ_MANIFEST], 1);
    }
    db_reset(r->st[READ_MANIFEST]);
    return rc == SQLITE_ROW ? read_children(r, f, left) : rc;
}

/* If manifests disagree on a size it is unknown, because at least one is wrong. */
static int read_claimed(struct reader *r, struct catalog_fact *f) {
    int rc = first_row(r, READ_CLAIMED, &f->digest);
    sqlite3_stmt *st = r->st[READ_CLAIMED];
    if (rc == SQLITE_ROW && sqlite3_column_type(st, 1) != SQLITE_NULL) {
        f->code = 0;
        bool agree =
            sqlite3_column_type(st, 0) != SQLITE_NULL && sqlite3_column_int64(st, 0) == sqlite3_column_int64(st, 1);
        f->size = agree ? sqlite3_column_int64(st, 0) : -1;
        f->claimed = true;
    }
    db_reset(r->st[READ_CLAIMED]);
    return rc;
}

static int read_proofs(struct reader *r, struct catalog_fact *f, size_t *left) {
    int rc = first_row(r, READ_PROOFS, &f->digest);
    if (rc == SQLITE_ROW) {
        size_t len = (size_t)sqlite3_column_bytes(r->st[READ_PROOFS], 0);
        /* Proofs are optional: without room for them the rest of the answer is still good. */
        if (len && len <= *left) {
            *left -= len;
            f->proofs = xmalloc(len);
            memcpy(f->proofs, sqlite3_column_blob(r->st[READ_PROOFS], 0), len);
            f->proofs_len = len;
        }
    }
    db_reset(r->st[READ_PROOFS]);
    return rc;
}

static bool fine(int rc) {
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

static int read_fact(struct reader *r, struct catalog_fact *f, size_t *left) {
    int rc = first_row(r, READ_BLOB, &f->digest);
    if (rc == SQLITE_ROW) {
        f->code = 0;
        f->size = sqlite3_column_int64(r->st[READ_BLOB], 0);
        f->held = sqlite3_column_int(r->st[READ_BLOB], 1) != 0;
    }
    db_reset(r->st[READ_BLOB]);
    if (fine(rc)) rc = read_manifest(r, f, left);
    if (fine(rc) && f->code == ERR_NOT_FOUND) rc = read_claimed(r, f);
    if (fine(rc) && f->code == 0 && f->want_proofs) rc = read_proofs(r, f, left);
    return rc;
}

void catalog_fact_fini(struct catalog_fact *f) {
    manifest_fini(&f->manifest);
    free(f->proofs);
    f->proofs = NULL;
    f->proofs_len = 0;
    f->is_manifest = false;
}

static void look_up_one(struct catalog *c, struct reader *r, struct catalog_fact *f, size_t *left) {
    struct digest d = f->digest;
    bool want = f->want_proofs;
    *f = (struct catalog_fact){.digest = d, .want_proofs = want, .code = ERR_NOT_FOUND, .size = -1};
    if (!digest_len(d.alg)) return;
    int rc = read_fact(r, f, left);
    if (fine(rc) && f->code != ERR_TOO_BIG) return;
    int code = f->code;
    catalog_fact_fini(f);
    f->code = fine(rc) ? code : (rc & 0xff) == SQLITE_CORRUPT ? ERR_CORRUPT : ERR_INTERNAL;
    if (!fine(rc)) catalog_suspect(c, rc);
}

void catalog_lookup(struct catalog *c, struct catalog_fact *facts, size_t n, size_t max_bytes) {
    struct reader *r = catalog_take_reader(c);
    size_t left = max_bytes;
    for (size_t i = 0; i < n; i++)
        look_up_one(c, r, &facts[i], &left);
    catalog_give_reader(c, r);
    atomic_fetch_add(&c->lookups, (int64_t)n);
}

size_t catalog_held_after(struct catalog *c, const struct digest *after, struct digest *out, size_t max) {
    struct reader *r = catalog_take_reader(c);
    sqlite3_stmt *st = r->st[READ_HELD];
    size_t n = 0;
    if (after)
        db_bind_digest(st, 1, after);
    else
        sqlite3_bind_blob(st, 1, "", 0, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)max);
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        n += db_column_digest(st, 0, &out[n]);
    db_reset(r->st[READ_HELD]);
    catalog_give_reader(c, r);
    if (rc != SQLITE_DONE) catalog_suspect(c, rc);
    return n;
}

bool catalog_read_tag(sqlite3_stmt *st, struct wire_tag *t) {
    memset(t, 0, sizeof(*t));
    const char *repo = (const char *)sqlite3_column_text(st, 0), *tag = (const char *)sqlite3_column_text(st, 1);
    if (!repo || !tag || !db_column_digest(st, 2, &t->facts.digest)) return false;
    const char *slash = sqlite3_column_int(st, 7) ? NULL : strchr(repo, '/');
    if (slash) snprintf(t->repo.upstream, sizeof(t->repo.upstream), "%.*s", (int)(slash - repo), repo);
    snprintf(t->repo.path, sizeof(t->repo.path), "%s", slash ? slash + 1 : repo);
    snprintf(t->tag, sizeof(t->tag), "%s", tag);
    t->facts.size = sqlite3_column_int64(st, 3);
    column_string(st, 4, t->facts.media_type, sizeof(t->facts.media_type));
    t->facts.checked_at = sqlite3_column_int64(st, 5);
    t->facts.deleted = sqlite3_column_int(st, 6) != 0;
    return true;
}

int catalog_each_tag(struct catalog *c,
                     void (*fn)(const char *repo, const char *tag, const struct tag_facts *t, void *arg), void *arg) {
    struct reader *r = catalog_take_reader(c);
    sqlite3_stmt *st = r->st[READ_TAGS];
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *repo = (const char *)sqlite3_column_text(st, 0), *tag = (const char *)sqlite3_column_text(st, 1);
        struct tag_facts t = {.size = sqlite3_column_int64(st, 3),
                              .checked_at = sqlite3_column_int64(st, 5),
                              .deleted = sqlite3_column_int(st, 6) != 0};
        column_string(st, 4, t.media_type, sizeof(t.media_type));
        if (repo && tag && db_column_digest(st, 2, &t.digest)) fn(repo, tag, &t, arg);
    }
    db_reset(r->st[READ_TAGS]);
    catalog_give_reader(c, r);
    if (rc == SQLITE_DONE) return 0;
    catalog_suspect(c, rc);
    return (rc & 0xff) == SQLITE_CORRUPT ? ERR_CORRUPT : ERR_INTERNAL;
}

static void tell_asker(struct offload *o) {
    struct catalog_query *q = container_of(o, struct catalog_query, offload);
    q->done(q);
}

static void look_up_all(struct offload *o) {
    struct catalog_query *q = container_of(o, struct catalog_query, offload);
    catalog_lookup(q->catalog, q->facts, q->n, q->max_bytes);
}

void catalog_query_submit(struct catalog_query *q, struct workpool *pool) {
    q->offload = (struct offload){.run = look_up_all, .back = tell_asker, .whose = q->whose};
    offload_start(&q->offload, pool, q->loop);
}
