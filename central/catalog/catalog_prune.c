/* Keeps catalog.db within its limit. Blobs that are not held go, longest lost first, each with its manifest, that
 * manifest's children and its proofs; so do tags whose manifest is not held. A blob that a held manifest names stays:
 * its size is needed when it is fetched. So does what a hosted tag points to. Removal is logged, so that replicas forget
 * the same. A pass is a chain of small jobs, so that new facts do not wait for its end. Thread: the
 * catalogue's writer. */
#include "central/catalog/changes.h"

#include "common/core/alloc.h"
#include "common/core/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_EVERY 64    /* facts */
#define BATCH_LOOKED 200 /* rows examined by one job, of each kind */
#define BATCH_ROWS 5000  /* rows removed by one job, about */
#define BATCH_PAGES 1000 /* pages given back by one job */
#define LOG_KEEP_MAX 1000000
#define LOG_ENTRY_SHARE 4096 /* an entry takes 1 KiB at most: the log takes at most a quarter of the limit */

/* name, SQL */
#define PRUNE_STATEMENTS(X)                                                                                \
    X(PAGES, "PRAGMA page_count")                                                                          \
    X(FREE, "PRAGMA freelist_count")                                                                       \
    X(PAGE_SIZE, "PRAGMA page_size")                                                                       \
    X(BLOBS, "SELECT changed, digest, EXISTS(SELECT 1 FROM children c JOIN blobs p ON p.digest = c.parent" \
             " WHERE c.child = b.digest AND p.held = 1)"                                                   \
             " OR EXISTS(SELECT 1 FROM tags t WHERE t.digest = b.digest AND t.hosted = 1) FROM blobs b"    \
             " WHERE held = 0 AND (changed, digest) > (?, ?) ORDER BY changed, digest LIMIT ?")            \
    X(BLOB_SIZE, "SELECT size FROM blobs WHERE digest = ? AND held = 0")                                   \
    X(TAGS, "SELECT repo, tag, digest, size, media_type, checked_at, deleted, hosted,"                     \
            " EXISTS(SELECT 1 FROM blobs b WHERE b.digest = t.digest AND b.held = 1) FROM tags t"          \
            " WHERE hosted = 0 AND (checked_at, repo, tag) > (?, ?, ?) ORDER BY checked_at, repo, tag"     \
            " LIMIT ?")                                                                                    \
    X(DROP_PROOFS, "DELETE FROM proofs WHERE digest = ?")                                                  \
    X(DROP_CHILDREN, "DELETE FROM children WHERE parent = ?")                                              \
    X(DROP_MANIFEST, "DELETE FROM manifests WHERE digest = ?")                                             \
    X(DROP_BLOB, "DELETE FROM blobs WHERE digest = ? AND held = 0")                                        \
    X(DROP_TAG, "DELETE FROM tags WHERE repo = ? AND tag = ?")

enum prune_stmt {
#define X(name, sql) PRUNE_##name,
    PRUNE_STATEMENTS(X)
#undef X
        PRUNE_COUNT
};

struct prune {
    struct writer_job job;
    struct catalog *catalog;
    sqlite3_stmt *st[PRUNE_COUNT]; /* finalized by writer_close */
    unsigned facts;                /* since the last look */
    bool under_way, looked, told;
    int64_t again_above; /* bytes: a pass that could not remove enough is not repeated below */
    /* Where the next job of the pass continues. */
    int64_t blob_changed, tag_checked;
    struct digest blob;
    char repo[REPO_STR_MAX], tag[TAG_MAX + 1];
    bool blobs_end, tags_end, failed, more;
    int64_t pruned;    /* by this job */
    uint64_t sequence; /* of its last change */
};

static sqlite3_stmt *statement(struct prune *p, sqlite3 *db, enum prune_stmt which) {
    static const char *const sql[] = {
#define X(name, text) text,
        PRUNE_STATEMENTS(X)
#undef X
    };
    return db_prepared(db, &p->st[which], sql[which]);
}

static void note_failure(struct prune *p, int rc) {
    p->failed = true;
    catalog_suspect(p->catalog, rc);
}

static int64_t number(struct prune *p, sqlite3 *db, enum prune_stmt which) {
    sqlite3_stmt *st = statement(p, db, which);
    int64_t n = st && sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return n;
}

/* Returns the number of rows removed. */
static int drop(struct prune *p, sqlite3 *db, enum prune_stmt which, const struct digest *d) {
    sqlite3_stmt *st = statement(p, db, which);
    if (!st) return 0;
    db_bind_digest(st, 1, d);
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    if (rc != SQLITE_DONE) note_failure(p, rc);
    return rc == SQLITE_DONE ? sqlite3_changes(db) : 0;
}

/* The blobs of one batch that are to go, in order. True in *end: there are no more after them. */
static size_t choose_blobs(struct prune *p, sqlite3 *db, struct digest out[BATCH_LOOKED], int64_t changed[BATCH_LOOKED],
                           bool *end) {
    size_t n = 0;
    int looked = 0, rc;
    sqlite3_stmt *st = statement(p, db, PRUNE_BLOBS);
    sqlite3_bind_int64(st, 1, p->blob_changed);
    sqlite3_bind_blob(st, 2, &p->blob, p->blob.alg ? db_digest_len(&p->blob) : 0, SQLITE_TRANSIENT);
    sqlite3_bind_int(st, 3, BATCH_LOOKED);
    while ((rc = st ? sqlite3_step(st) : SQLITE_MISUSE) == SQLITE_ROW) {
        looked++;
        p->blob_changed = sqlite3_column_int64(st, 0);
        if (!db_column_digest(st, 1, &p->blob)) continue;
        if (sqlite3_column_int(st, 2)) continue;
        changed[n] = p->blob_changed;
        out[n++] = p->blob;
    }
    sqlite3_reset(st);
    if (rc != SQLITE_DONE) note_failure(p, rc);
    *end = looked < BATCH_LOOKED;
    return n;
}

/* What one removal does is done whole or not at all, so that the log says what is true. */
static bool begin_removal(struct prune *p, sqlite3 *db) {
    int rc = sqlite3_exec(db, "SAVEPOINT removal", NULL, NULL, NULL);
    if (rc != SQLITE_OK) note_failure(p, rc);
    return rc == SQLITE_OK;
}

static void end_removal(struct prune *p, sqlite3 *db) {
    if (p->failed) changes_forget(p->catalog->changes);
    if (p->failed) sqlite3_exec(db, "ROLLBACK TO removal", NULL, NULL, NULL);
    sqlite3_exec(db, "RELEASE removal", NULL, NULL, NULL);
    if (!p->failed) p->pruned++;
}

/* Removes a blob and what is known by it, and tells the log. Returns the number of rows removed. */
static int drop_all_of(struct prune *p, sqlite3 *db, const struct digest *d) {
    struct changes *ch = p->catalog->changes;
    sqlite3_stmt *st = statement(p, db, PRUNE_BLOB_SIZE);
    db_bind_digest(st, 1, d);
    int rc = st ? sqlite3_step(st) : SQLITE_MISUSE;
    int64_t size = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_reset(st);
    if (rc == SQLITE_DONE || !begin_removal(p, db)) return 0; /* it is held again */
    if (rc == SQLITE_ROW) rc = changes_manifest(ch, db, d, true, &p->sequence);
    if (rc == SQLITE_OK) rc = changes_blob(ch, db, d, size, -1, &p->sequence);
    if (rc != SQLITE_OK) note_failure(p, rc);
    int rows = drop(p, db, PRUNE_DROP_PROOFS, d) + drop(p, db, PRUNE_DROP_CHILDREN, d) +
               drop(p, db, PRUNE_DROP_MANIFEST, d) + drop(p, db, PRUNE_DROP_BLOB, d);
    end_removal(p, db);
    return rows;
}

static void prune_blobs(struct prune *p, sqlite3 *db) {
    struct digest some[BATCH_LOOKED];
    int64_t changed[BATCH_LOOKED];
    bool end;
    size_t n = choose_blobs(p, db, some, changed, &end), i = 0;
    if (p->failed) return; /* the pass ends */
    for (int rows = 0; i < n && rows < BATCH_ROWS && !p->failed; i++)
        rows += drop_all_of(p, db, &some[i]);
    if (i < n) { /* the rest is for the next job */
        p->blob = some[i - 1];
        p->blob_changed = changed[i - 1];
        return;
    }
    p->blobs_end = end;
}

static void drop_tag(struct prune *p, sqlite3 *db, const struct wire_tag *t) {
    sqlite3_stmt *st = statement(p, db, PRUNE_DROP_TAG);
    if (!begin_removal(p, db)) return;
    int rc = changes_tag(p->catalog->changes, db, &t->repo, t->tag, &t->facts, NULL, &p->sequence);
    sqlite3_bind_text(st, 1, p->repo, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, p->tag, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = st ? sqlite3_step(st) : SQLITE_MISUSE;
    db_reset(st);
    if (rc != SQLITE_DONE) note_failure(p, rc);
    end_removal(p, db);
}

/* The next tag, and whether its manifest is held. False: there is none. */
static bool next_tag(struct prune *p, sqlite3 *db, struct wire_tag *t, bool *held) {
    sqlite3_stmt *st = statement(p, db, PRUNE_TAGS);
    sqlite3_bind_int64(st, 1, p->tag_checked);
    sqlite3_bind_text(st, 2, p->repo, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 3, p->tag, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int(st, 4, 1);
    int rc = st ? sqlite3_step(st) : SQLITE_MISUSE;
    if (rc == SQLITE_ROW) {
        const char *repo = (const char *)sqlite3_column_text(st, 0), *tag = (const char *)sqlite3_column_text(st, 1);
        p->tag_checked = sqlite3_column_int64(st, 5);
        snprintf(p->repo, sizeof(p->repo), "%s", repo ? repo : "");
        snprintf(p->tag, sizeof(p->tag), "%s", tag ? tag : "");
        *held = !catalog_read_tag(st, t) || sqlite3_column_int(st, 8) != 0;
    } else if (rc != SQLITE_DONE) {
        note_failure(p, rc);
    }
    sqlite3_reset(st);
    return rc == SQLITE_ROW;
}

static void prune_tags(struct prune *p, sqlite3 *db) {
    struct wire_tag t;
    for (int i = 0; i < BATCH_LOOKED && !p->failed; i++) {
        bool held = false;
        if (!next_tag(p, db, &t, &held)) {
            p->tags_end = true;
            return;
        }
        if (!held) drop_tag(p, db, &t);
    }
}

static void give_back(struct prune *p, sqlite3 *db, int64_t pages) {
    char sql[64];
    snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%lld)", (long long)pages);
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK) note_failure(p, rc);
}

struct file_size {
    int64_t page, pages, unused;
};

static struct file_size measure(struct prune *p, sqlite3 *db) {
    struct file_size s = {number(p, db, PRUNE_PAGE_SIZE), number(p, db, PRUNE_PAGES), number(p, db, PRUNE_FREE)};
    atomic_store(&p->catalog->bytes, s.page * s.pages);
    return s;
}

/* One job of a pass. It prunes to somewhat below the limit, so that not every new fact begins another pass. */
static void prune_some(struct writer_job *job, sqlite3 *db) {
    struct prune *p = container_of(job, struct prune, job);
    int64_t target = p->catalog->limit - p->catalog->limit / 16;
    p->pruned = 0;
    p->sequence = 0;
    p->failed = p->more = false;
    struct file_size s = measure(p, db);
    bool dropping = (s.pages - s.unused) * s.page > target && !(p->blobs_end && p->tags_end);
    if (dropping && !p->blobs_end) prune_blobs(p, db);
    if (dropping && !p->tags_end && !p->failed) prune_tags(p, db);
    int rc = p->failed ? SQLITE_OK : catalog_trim_log(p->catalog, db, p->sequence); /* removals are entries, too */
    if (rc != SQLITE_OK) note_failure(p, rc);
    s = measure(p, db);
    int64_t over = s.page ? (s.pages * s.page - target) / s.page + 1 : 0;
    bool giving = over > 0 && s.unused > 0;
    if (giving && !p->failed) give_back(p, db, over < BATCH_PAGES ? over : BATCH_PAGES);
    struct file_size after = measure(p, db);
    p->more = !p->failed && (dropping || (giving && after.pages < s.pages));
}

static void end_pass(struct prune *p) {
    struct catalog *c = p->catalog;
    int64_t bytes = atomic_load(&c->bytes);
    p->under_way = false;
    p->again_above = bytes > c->limit ? bytes + c->limit / 16 : 0;
    bool tell = p->again_above && !p->failed && !p->more && !p->told;
    p->told = p->again_above && (p->told || tell);
    if (tell)
        log_warn("catalog_over_limit", KV_S("path", c->path), KV_I("bytes", bytes), KV_I("limit", c->limit),
                 KV_S("why", "what is held and hosted takes more"), KV_S("try", "raise catalog.limit"));
}

static void done(struct writer_job *job, int code) {
    struct prune *p = container_of(job, struct prune, job);
    if (code == 0) atomic_fetch_add(&p->catalog->pruned, p->pruned);
    if (code == 0 && p->sequence) catalog_changed(p->catalog, p->sequence);
    if (code < 0) changes_forget(p->catalog->changes);
    if (code < 0) p->failed = true;
    if (p->more && code == 0 && !atomic_load(&p->catalog->closing))
        writer_submit(p->catalog->writer, &p->job);
    else
        end_pass(p);
}

static void begin_pass(struct prune *p) {
    p->under_way = true;
    p->blobs_end = p->tags_end = false;
    p->blob_changed = p->tag_checked = INT64_MIN;
    p->blob = (struct digest){0};
    p->repo[0] = p->tag[0] = '\0';
    p->job = (struct writer_job){.run = prune_some, .after_commit = done};
    writer_submit(p->catalog->writer, &p->job);
}

void prune_look(struct prune *p, sqlite3 *db) {
    if (p->looked && ++p->facts < LOOK_EVERY) return;
    p->looked = true;
    p->facts = 0;
    struct file_size s = measure(p, db);
    int64_t bytes = s.pages * s.page, limit = p->catalog->limit;
    if (limit > 0 && !p->under_way && bytes > limit && bytes > p->again_above) begin_pass(p);
}

int64_t catalog_log_keep(const struct catalog *c) {
    int64_t most = c->log_entries ? c->log_entries : LOG_KEEP_MAX, keep = c->limit / LOG_ENTRY_SHARE;
    return c->limit == 0 || keep > most ? most : keep;
}

struct prune *prune_new(struct catalog *c) {
    struct prune *p = xcalloc(1, sizeof(*p));
    p->catalog = c;
    return p;
}

void prune_free(struct prune *p) {
    free(p);
}

void catalog_bound(struct catalog *c, int64_t limit) {
    struct stat st;
    c->limit = limit;
    if (stat(c->path, &st) == 0) atomic_store(&c->bytes, st.st_size);
}
