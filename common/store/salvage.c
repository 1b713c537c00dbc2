/* Reads from a damaged index, as far as possible, what the folder does not know: tags, and for each blob its scopes,
 * whether it is hosted, and a manifest's repositories. Thread: control, while the store opens; blobs get what
 * was found as they are adopted, in the work pool. */
#include <stdio.h>
#include <string.h>

#include "common/store/store_private.h"
#include "common/core/alloc.h"

/* The caller finalizes. NULL: that table cannot be read. */
static sqlite3_stmt *query(sqlite3 *db, const char *sql) {
    sqlite3_stmt *st = NULL;
    return sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK ? st : NULL;
}

static const char *text(sqlite3_stmt *st, int column) {
    return (const char *)sqlite3_column_text(st, column);
}

static void tags(struct store *s, sqlite3 *db) {
    sqlite3_stmt *st = query(db, "SELECT repo, tag, digest, checked_at, size, media, deleted FROM tags");
    while (st && sqlite3_step(st) == SQLITE_ROW) {
        const char *repo = text(st, 0), *tag = text(st, 1), *media = text(st, 5);
        struct tag_facts rec = {.checked_at = sqlite3_column_int64(st, 3),
                                .size = sqlite3_column_int64(st, 4),
                                .deleted = sqlite3_column_int(st, 6)};
        if (!repo || !tag || !media || !db_column_digest(st, 2, &rec.digest)) continue;
        snprintf(rec.media_type, sizeof(rec.media_type), "%s", media);
        store_tag_set(s, repo, tag, &rec);
    }
    sqlite3_finalize(st);
}

/* --- blobs --- */

static void salvaged_free(void *p) {
    struct salvaged *v = p;
    for (size_t i = 0; i < v->n_repositories; i++)
        free(v->repositories[i]);
    free(v->repositories);
    free(v);
}

static struct salvaged *of(struct store *s, const struct digest *d) {
    struct salvaged *v = map_get(s->salvaged, d, sizeof(*d));
    if (v) return v;
    v = xcalloc(1, sizeof(*v));
    map_set(s->salvaged, d, sizeof(*d), v);
    return v;
}

static void add_scope(struct salvaged *v, uint32_t scope) {
    if (scope && v->n_scopes < SALVAGED_SCOPES) v->scopes[v->n_scopes++] = scope;
}

/* Scopes are numbered anew: old numbers are looked up by what they stood for. */
struct numbers {
    uint32_t *now;
    size_t n;
};

static uint32_t renumbered(const struct numbers *m, int64_t old) {
    return old > 0 && (uint64_t)old < m->n ? m->now[old] : 0;
}

static void scope_names(struct store *s, sqlite3 *db, struct numbers *m) {
    sqlite3_stmt *st = query(db, "SELECT id, name FROM scopes ORDER BY id");
    while (st && sqlite3_step(st) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(st, 0);
        const char *name = text(st, 1);
        if (!name || id <= 0 || id > 0xffffff) continue;
        if ((size_t)id >= m->n) {
            m->now = xrealloc(m->now, (size_t)id + 1, sizeof(*m->now));
            memset(m->now + m->n, 0, ((size_t)id + 1 - m->n) * sizeof(*m->now));
            m->n = (size_t)id + 1;
        }
        if (store_scope(s, name, &m->now[id]) < 0) m->now[id] = 0;
    }
    sqlite3_finalize(st);
}

static void blobs(struct store *s, sqlite3 *db, const struct numbers *m) {
    struct digest d;
    sqlite3_stmt *st = query(db, "SELECT digest, flags, scopes FROM blobs");
    while (st && sqlite3_step(st) == SQLITE_ROW) {
        if (!db_column_digest(st, 0, &d)) continue;
        int64_t scopes = sqlite3_column_int64(st, 2);
        struct salvaged *v = of(s, &d);
        v->flags = (unsigned)sqlite3_column_int(st, 1) & BLOB_HOSTED;
        add_scope(v, renumbered(m, scopes & 0xffffff));
        add_scope(v, renumbered(m, scopes >> 24 & 0xffffff));
    }
    sqlite3_finalize(st);
    st = query(db, "SELECT digest, scope FROM more_scopes");
    while (st && sqlite3_step(st) == SQLITE_ROW) {
        if (db_column_digest(st, 0, &d)) add_scope(of(s, &d), renumbered(m, sqlite3_column_int64(st, 1)));
    }
    sqlite3_finalize(st);
    st = query(db, "SELECT digest, repo FROM repo_manifests");
    while (st && sqlite3_step(st) == SQLITE_ROW) {
        const char *repo = text(st, 1);
        if (!repo || !db_column_digest(st, 0, &d)) continue;
        struct salvaged *v = of(s, &d);
        v->repositories = xrealloc(v->repositories, v->n_repositories + 1, sizeof(char *));
        v->repositories[v->n_repositories++] = xstrdup(repo);
    }
    sqlite3_finalize(st);
}

void salvage(struct store *s, const char *path) {
    char old[4200];
    sqlite3 *db = NULL;
    struct numbers m = {0};
    snprintf(old, sizeof(old), "%s.old", path);
    s->salvaged = map_new(salvaged_free);
    if (access(old, F_OK) == 0 && sqlite3_open_v2(old, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
        tags(s, db);
        scope_names(s, db, &m);
        blobs(s, db, &m);
    }
    sqlite3_close(db);
    free(m.now);
}
