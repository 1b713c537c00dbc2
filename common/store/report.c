/* The lists that people read, each through a connection of its own. Thread: whoever may block. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/core/buf.h"
#include "common/store/store_private.h"
#include "common/core/alloc.h"

#define COMPLETE_DEPTH 4 /* index, manifest, layers; and one to spare */

/* --- scopes of a blob --- */

struct scope_names {
    const struct store *store;
    const struct digest *digest;
    struct table_value value;
    struct buf names; /* each with its NUL */
};

static void add_scope(uint32_t id, const char *name, size_t len, void *arg) {
    struct scope_names *n = arg;
    if (!table_scope_has(n->store->table, n->digest, &n->value, id)) return;
    if (buf_add(&n->names, name, len) < 0 || buf_add(&n->names, "", 1) < 0) out_of_memory();
}

void store_each_scope(struct store *s, const struct digest *d, void (*fn)(const char *scope, void *arg), void *arg) {
    struct scope_names n = {.store = s, .digest = d};
    if (!table_find(s->table, d, &n.value)) return;
    buf_init(&n.names, SIZE_MAX);
    scopes_each(s->scopes, add_scope, &n);
    for (size_t at = 0; at < n.names.len; at += strlen(n.names.data + at) + 1)
        fn(n.names.data + at, arg);
    buf_fini(&n.names);
}

void store_each(const struct store *s, void (*fn)(const struct digest *d, void *arg), void *arg) {
    for (uint32_t id = 1, end = table_end(s->table); id < end; id++) {
        struct digest d;
        if (table_get(s->table, id, &d, NULL)) fn(&d, arg);
    }
}

/* --- lists --- */

static int open_query(struct store *s, const char *query, sqlite3 **db, sqlite3_stmt **st, struct error *err) {
    writer_flush(s->writer);
    int r = writer_reader(s->writer, db, err);
    if (r < 0) return r;
    if (sqlite3_prepare_v2(*db, query, -1, st, NULL) == SQLITE_OK) return 0;
    r = db_error(*db, err, "reading the index");
    sqlite3_close(*db);
    return r;
}

static int close_query(sqlite3 *db, sqlite3_stmt *st, int rc, struct error *err) {
    int r = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : db_error(db, err, "reading the index");
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

int store_each_repo(struct store *s,
                    bool (*fn)(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg), void *arg,
                    struct error *err) {
    static const char query[] =
        "SELECT repo, sum(tags), sum(manifests), sum(bytes) FROM ("
        " SELECT repo, count(*) AS tags, 0 AS manifests, 0 AS bytes FROM tags GROUP BY repo"
        " UNION ALL SELECT repo, 0, count(*), sum(size) FROM repo_manifests JOIN blobs USING(digest) GROUP BY repo)"
        " GROUP BY repo ORDER BY repo";
    sqlite3 *db;
    sqlite3_stmt *st;
    int r = open_query(s, query, &db, &st, err), rc;
    if (r < 0) return r;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *repo = (const char *)sqlite3_column_text(st, 0);
        if (repo &&
            !fn(repo, sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3), arg))
            break;
    }
    return close_query(db, st, rc, err);
}

bool store_tag_is_held(const struct store *s, const char *repo, const char *tag, const struct digest *d) {
    struct table_value v;
    return table_find(s->table, d, &v) || guard_keeps_tag(s, repo, tag);
}

struct held_repos {
    struct store *store;
    sqlite3_stmt *tags;
    bool (*fn)(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg);
    void *arg;
};

static int64_t count_held_tags(const struct held_repos *h, const char *repo) {
    int64_t n = 0;
    struct tag_facts rec;
    sqlite3_reset(h->tags);
    sqlite3_bind_text(h->tags, 1, repo, -1, SQLITE_TRANSIENT);
    while (sqlite3_step(h->tags) == SQLITE_ROW) {
        const char *tag = (const char *)sqlite3_column_text(h->tags, 0);
        n += tag && tags_get(h->store->tags, repo, tag, &rec) && store_tag_is_held(h->store, repo, tag, &rec.digest);
    }
    return n;
}

int store_each_held_repo(struct store *s,
                         bool (*fn)(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg),
                         void *arg, struct error *err) {
    static const char query[] =
        "SELECT repo, sum(manifests), sum(bytes) FROM ("
        " SELECT DISTINCT repo, 0 AS manifests, 0 AS bytes FROM tags"
        " UNION ALL SELECT repo, count(*), 0 FROM repo_manifests JOIN blobs USING(digest) GROUP BY repo"
        " UNION ALL SELECT repo, 0, sum(size) FROM ("
        "  SELECT repo, digest FROM repo_manifests"
        "  UNION SELECT repo, child FROM repo_manifests JOIN children ON parent = digest)"
        " JOIN blobs USING(digest) GROUP BY repo)"
        " GROUP BY repo ORDER BY repo";
    sqlite3 *db;
    sqlite3_stmt *st;
    struct held_repos h = {.store = s};
    int r = open_query(s, query, &db, &st, err), rc;
    if (r < 0) return r;
    if (sqlite3_prepare_v2(db, "SELECT tag FROM tags WHERE repo=?1", -1, &h.tags, NULL) != SQLITE_OK) {
        r = db_error(db, err, "reading the index");
        sqlite3_finalize(st);
        sqlite3_close(db);
        return r;
    }
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *repo = (const char *)sqlite3_column_text(st, 0);
        int64_t manifests = sqlite3_column_int64(st, 1), tags = repo ? count_held_tags(&h, repo) : 0;
        if (tags + manifests > 0 && !fn(repo, tags, manifests, sqlite3_column_int64(st, 2), arg)) break;
    }
    sqlite3_finalize(h.tags);
    return close_query(db, st, rc, err);
}

/* Held, and all it refers to. st: the children of ?1, one statement for each depth. */
static bool complete(struct store *s, sqlite3 *db, const struct digest *d, int depth) {
    struct table_value v;
    if (!table_find(s->table, d, &v)) return false;
    if (!(v.flags & BLOB_MANIFEST) || depth == COMPLETE_DEPTH) return true;
    sqlite3_stmt *st;
    if (sqlite3_prepare_v2(db, "SELECT child FROM children WHERE parent=?1", -1, &st, NULL) != SQLITE_OK) return false;
    db_bind_digest(st, 1, d);
    bool all = true;
    struct digest child;
    while (all && sqlite3_step(st) == SQLITE_ROW)
        all = db_column_digest(st, 0, &child) && complete(s, db, &child, depth + 1);
    sqlite3_finalize(st);
    return all;
}

int store_each_tag(struct store *s, const char *repo,
                   bool (*fn)(const char *tag, const struct tag_facts *rec, bool complete, void *arg), void *arg,
                   struct error *err) {
    sqlite3 *db;
    sqlite3_stmt *st;
    int r = open_query(s, "SELECT tag FROM tags WHERE repo=?1 ORDER BY tag", &db, &st, err), rc;
    if (r < 0) return r;
    sqlite3_bind_text(st, 1, repo, -1, SQLITE_TRANSIENT);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *tag = (const char *)sqlite3_column_text(st, 0);
        struct tag_facts rec;
        if (!tag || !tags_get(s->tags, repo, tag, &rec)) continue;
        if (!fn(tag, &rec, complete(s, db, &rec.digest, 0), arg)) break;
    }
    return close_query(db, st, rc, err);
}

int store_each_parent(struct store *s, const char *repo, const struct digest *child,
                      bool (*fn)(const struct digest *parent, void *arg), void *arg, struct error *err) {
    static const char query[] = "SELECT r.digest FROM repo_manifests r JOIN children c ON c.parent = r.digest"
                                " WHERE r.repo = ?1 AND c.child = ?2 ORDER BY r.digest";
    sqlite3 *db;
    sqlite3_stmt *st;
    struct digest d;
    int r = open_query(s, query, &db, &st, err), rc;
    if (r < 0) return r;
    sqlite3_bind_text(st, 1, repo, -1, SQLITE_TRANSIENT);
    db_bind_digest(st, 2, child);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (db_column_digest(st, 0, &d) && !fn(&d, arg)) break;
    }
    return close_query(db, st, rc, err);
}

int64_t store_used_at(const struct store *s, const struct digest *d) {
    struct table_value v;
    uint32_t id = table_find(s->table, d, &v);
    return id ? table_used_at(s->table, id) : 0;
}

int store_peek_blob(struct store *s, const struct digest *d, size_t limit, char **data, size_t *len) {
    struct table_value v;
    char path[STORE_PATH_MAX];
    if (!table_find(s->table, d, &v)) return ERR_NOT_FOUND;
    if (v.size < 0 || (uint64_t)v.size > limit) return ERR_TOO_BIG;
    folder_blob_path(d, path);
    _cleanup_(closep) int fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : -errno;
    char *out = xmalloc((size_t)v.size + 1);
    size_t got = 0;
    while (got < (size_t)v.size) {
        ssize_t n = read(fd, out + got, (size_t)v.size - got);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            int r = n < 0 ? -errno : ERR_MISMATCH;
            free(out);
            return r;
        }
        got += (size_t)n;
    }
    out[got] = '\0';
    *data = out;
    *len = got;
    return 0;
}

int store_each_blob(struct store *s,
                    bool (*fn)(const struct digest *d, const struct blob_info *info, int64_t used_at, void *arg),
                    void *arg, struct error *err) {
    (void)err; /* from memory: cannot fail */
    for (uint32_t id = 1, end = table_end(s->table); id < end; id++) {
        struct digest d;
        struct table_value v;
        struct blob_info info;
        if (!table_get(s->table, id, &d, &v)) continue;
        held_info(s, &v, &info);
        if (!fn(&d, &info, table_used_at(s->table, id), arg)) break;
    }
    return 0;
}
