/* The record of hosted images: hosted.db under a lock, and in memory which digests and tags are hosted. Thread: any
 * that may block; functions that use only the memory: any. */
#include "central/warehouse/hosted.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "central/warehouse/hosted_db.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/map.h"

#define PATH_MAX_BYTES 4200
#define TAG_KEY_MAX (REPO_STR_MAX + TAG_MAX + 2)

struct known {
    int64_t size; /* bytes; -1: not known */
};

struct hold {
    unsigned n; /* images being loaded that contain it */
};

struct hosted {
    char dir[4096], notice[PATH_MAX_BYTES];
    pthread_mutex_t db_lock; /* guards db; held across disk I/O; taken before lock */
    struct hosted_db db;
    bool in_batch;
    pthread_rwlock_t lock; /* guards the maps and sums; held for a few instructions */
    struct map *blobs;     /* digest to struct known */
    struct map *tags;      /* "repository\ntag"; a set, so every value is the record itself */
    struct map *held_back; /* digest to struct hold */
    int64_t bytes;
    char lost[256]; /* why an earlier file was replaced; "": it was not */
    _Atomic bool takeover_due, doubtful;
};

/* --- memory --- */

static size_t tag_key(char out[TAG_KEY_MAX], const char *repo, const char *tag) {
    int n = snprintf(out, TAG_KEY_MAX, "%s\n%s", repo, tag);
    return n < 0 ? 0 : n < TAG_KEY_MAX ? (size_t)n : TAG_KEY_MAX - 1;
}

/* Call with the lock held for writing. */
static void note_blob(struct hosted *h, const struct digest *d, int64_t size) {
    struct known *k = map_get(h->blobs, d, sizeof(*d));
    if (!k) {
        k = xcalloc(1, sizeof(*k));
        k->size = -1;
        map_set(h->blobs, d, sizeof(*d), k);
    }
    if (size < 0) return;
    h->bytes += size - (k->size > 0 ? k->size : 0);
    k->size = size;
}

static void note_tag(struct hosted *h, const char *repo, const char *tag) {
    char key[TAG_KEY_MAX];
    size_t len = tag_key(key, repo, tag);
    map_set(h->tags, key, len, h);
}

static void load_blob(const struct digest *d, int64_t size, void *arg) {
    note_blob(arg, d, size);
}

static void load_tag(const char *repo, const char *tag, const struct tag_facts *t, void *arg) {
    (void)t;
    note_tag(arg, repo, tag);
}

static void memory_new(struct hosted *h) {
    map_free(h->blobs);
    map_free(h->tags);
    h->blobs = map_new(free);
    h->tags = map_new(NULL);
    h->bytes = 0;
}

bool hosted_knows(struct hosted *h, const struct digest *d, int64_t *size) {
    pthread_rwlock_rdlock(&h->lock);
    const struct known *k = map_get(h->blobs, d, sizeof(*d));
    if (k && size) *size = k->size;
    pthread_rwlock_unlock(&h->lock);
    return k != NULL;
}

bool hosted_has_tag(struct hosted *h, const char *repo, const char *tag) {
    char key[TAG_KEY_MAX];
    size_t len = tag_key(key, repo, tag);
    pthread_rwlock_rdlock(&h->lock);
    bool has = map_get(h->tags, key, len) != NULL;
    pthread_rwlock_unlock(&h->lock);
    return has;
}

void hosted_count(struct hosted *h, struct hosted_counts *out) {
    pthread_rwlock_rdlock(&h->lock);
    *out = (struct hosted_counts){(int64_t)map_len(h->tags), (int64_t)map_len(h->blobs), h->bytes};
    pthread_rwlock_unlock(&h->lock);
}

struct walk {
    void (*fn)(const struct digest *d, int64_t size, void *arg);
    void *arg;
};

static bool visit(const void *key, size_t len, void *value, void *arg) {
    struct walk *w = arg;
    struct digest d;
    if (len != sizeof(d)) return true;
    memcpy(&d, key, sizeof(d));
    w->fn(&d, ((const struct known *)value)->size, w->arg);
    return true;
}

void hosted_each_blob(struct hosted *h, void (*fn)(const struct digest *d, int64_t size, void *arg), void *arg) {
    struct walk w = {fn, arg};
    pthread_rwlock_rdlock(&h->lock);
    map_each(h->blobs, visit, &w);
    pthread_rwlock_unlock(&h->lock);
}

void hosted_hold(struct hosted *h, const struct digest *d) {
    pthread_rwlock_wrlock(&h->lock);
    struct hold *e = map_get(h->held_back, d, sizeof(*d));
    if (!e) {
        e = xcalloc(1, sizeof(*e));
        map_set(h->held_back, d, sizeof(*d), e);
    }
    e->n++;
    pthread_rwlock_unlock(&h->lock);
}

void hosted_release(struct hosted *h, const struct digest *d) {
    pthread_rwlock_wrlock(&h->lock);
    struct hold *e = map_get(h->held_back, d, sizeof(*d));
    if (e && --e->n == 0) map_del(h->held_back, d, sizeof(*d));
    pthread_rwlock_unlock(&h->lock);
}

/* --- opening --- */

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* Renames the damaged file and its journal. They stay until an operator removes them. */
static void put_aside(const char *path, char aside[PATH_MAX_BYTES]) {
    char journal[PATH_MAX_BYTES + 16], to[PATH_MAX_BYTES + 16];
    int n = snprintf(aside, PATH_MAX_BYTES, "%.4100s.damaged", path);
    for (int i = 2; n > 0 && exists(aside) && i < 1000; i++)
        n = snprintf(aside, PATH_MAX_BYTES, "%.4100s.damaged-%d", path, i);
    if (rename(path, aside) < 0)
        log_error("hosted_put_aside_failed", KV_S("path", path), KV_S("why", error_name(-errno)));
    snprintf(journal, sizeof(journal), "%.4200s-journal", path);
    snprintf(to, sizeof(to), "%.4200s-journal", aside);
    if (rename(journal, to) < 0 && errno != ENOENT)
        log_warn("hosted_put_aside_failed", KV_S("path", journal), KV_S("why", error_name(-errno)));
}

static int load(struct hosted *h, struct error *err) {
    const struct hosted_loader l = {load_blob, load_tag, h};
    memory_new(h);
    return hosted_db_load(&h->db, &l, err);
}

/* Stored in the file, because the takeover may be interrupted and must know it at the next start. */
static int note_lost(struct hosted *h, struct error *err) {
    char *text = sqlite3_mprintf("INSERT OR REPLACE INTO meta VALUES('lost', %Q)", h->lost);
    if (!text) out_of_memory();
    int r = hosted_db_exec(&h->db, text, err);
    sqlite3_free(text);
    return r;
}

static void read_lost(struct hosted *h) {
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(h->db.db, "SELECT value FROM meta WHERE key='lost'", -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        snprintf(h->lost, sizeof(h->lost), "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
}

/* Starts a new record. why: what is wrong with the existing one. */
static int begin_anew(struct hosted *h, const char *path, const struct error *why, struct error *err) {
    char aside[PATH_MAX_BYTES];
    bool made;
    hosted_db_close(&h->db);
    put_aside(path, aside);
    int r = hosted_db_open(&h->db, path, &made, err);
    if (r < 0) return r;
    hosted_db_salvage(&h->db, aside);
    snprintf(h->lost, sizeof(h->lost), "it was damaged (%.150s)", why->msg);
    log_error("hosted_record_damaged", KV_S("path", path), KV_S("why", why->msg), KV_S("kept", aside),
              KV_S("then", "what can be read of it is combined with the index and the catalogue"));
    r = note_lost(h, err);
    return r < 0 ? r : load(h, err);
}

static int open_record(struct hosted *h, struct error *err) {
    char path[PATH_MAX_BYTES], journal[PATH_MAX_BYTES + 16];
    struct error why = {0};
    bool made = false;
    snprintf(path, sizeof(path), "%s/hosted.db", h->dir);
    snprintf(journal, sizeof(journal), "%s-journal", path);
    /* The journal is never removed, so a journal alone shows that there was a record. */
    bool was_there = !exists(path) && exists(journal);
    if (file_is_special(path)) return error_set(err, ERR_INVALID, "%s is not a file", path);
    int r = hosted_db_open(&h->db, path, &made, &why);
    if (r == 0) r = load(h, &why);
    if (r == ERR_CORRUPT || r == ERR_INTERNAL) r = begin_anew(h, path, &why, &why);
    if (r == 0 && was_there) {
        snprintf(h->lost, sizeof(h->lost), "hosted.db was removed");
        log_error("hosted_record_lost", KV_S("path", path),
                  KV_S("then", "it is made again from the index and the catalogue"));
        r = note_lost(h, &why);
    }
    if (r < 0) {
        *err = why;
        return error_wrap(err, "%s", path);
    }
    if (!h->lost[0]) read_lost(h);
    h->takeover_due = !hosted_db_is_complete(&h->db);
    return 0;
}

static void close_record(void *state) {
    struct hosted *h = state;
    hosted_db_close(&h->db);
    map_free(h->blobs);
    map_free(h->tags);
    map_free(h->held_back);
    pthread_rwlock_destroy(&h->lock);
    pthread_mutex_destroy(&h->db_lock);
    free(h);
}

static int guard_open(const char *dir, void **state, struct error *err) {
    struct error own = {0};
    struct hosted *h = xcalloc(1, sizeof(*h));
    snprintf(h->dir, sizeof(h->dir), "%s", dir);
    snprintf(h->notice, sizeof(h->notice), "%s/%s", h->dir, HOSTED_NOTICE);
    pthread_mutex_init(&h->db_lock, NULL);
    pthread_rwlock_init(&h->lock, NULL);
    h->held_back = map_new(free);
    h->doubtful = exists(h->notice);
    int r = open_record(h, err ? err : &own);
    if (r < 0)
        close_record(h);
    else
        *state = h;
    return r;
}

/* --- what the store asks --- */

static bool guard_keeps(const struct digest *d, void *state) {
    struct hosted *h = state;
    pthread_rwlock_rdlock(&h->lock);
    bool keeps = map_get(h->blobs, d, sizeof(*d)) || map_get(h->held_back, d, sizeof(*d));
    pthread_rwlock_unlock(&h->lock);
    return keeps;
}

static bool guard_keeps_tag(const char *repo, const char *tag, void *state) {
    return hosted_has_tag(state, repo, tag);
}

static bool guard_keeps_all(void *state) {
    return hosted_takeover_due(state) || hosted_is_doubtful(state);
}

const struct store_guard hosted_guard = {guard_open, close_record, guard_keeps, guard_keeps_tag, guard_keeps_all};

struct hosted *hosted_of(const struct store *s) {
    return store_guard_state(s);
}

/* --- reading --- */

void hosted_blob_fini(struct hosted_blob *b) {
    free(b->children);
    b->children = NULL;
    b->n_children = 0;
}

void hosted_repos_free(char **repos) {
    for (char **r = repos; r && *r; r++)
        free(*r);
    free(repos);
}

int hosted_find(struct hosted *h, const char *repo, const struct digest *d, struct hosted_blob *out, char ***repos,
                struct error *err) {
    *out = (struct hosted_blob){0};
    *repos = NULL;
    if (!hosted_knows(h, d, NULL)) return ERR_NOT_FOUND;
    pthread_mutex_lock(&h->db_lock);
    int r = hosted_db_find(&h->db, d, out, repos, err);
    pthread_mutex_unlock(&h->db_lock);
    bool there = r == 0 && !repo[0];
    for (char **name = *repos; r == 0 && !there && *name; name++)
        there = strcmp(*name, repo) == 0;
    if (r < 0 || there) return r;
    hosted_blob_fini(out);
    hosted_repos_free(*repos);
    *repos = NULL;
    return ERR_NOT_FOUND;
}

int hosted_each_tag(struct hosted *h,
                    void (*fn)(const char *repo, const char *tag, const struct tag_facts *t, void *arg), void *arg,
                    struct error *err) {
    pthread_mutex_lock(&h->db_lock);
    int r = hosted_db_each_tag(&h->db, fn, arg, err);
    pthread_mutex_unlock(&h->db_lock);
    return r;
}

int hosted_each_place(struct hosted *h,
                      void (*fn)(const struct digest *d, int64_t size, bool manifest, const char *repo, void *arg),
                      void *arg, struct error *err) {
    pthread_mutex_lock(&h->db_lock);
    int r = hosted_db_each_place(&h->db, fn, arg, err);
    pthread_mutex_unlock(&h->db_lock);
    return r;
}

/* --- writing --- */

static int put_all(struct hosted *h, const char *repo, const struct hosted_blob *blobs, size_t n, const char *tag,
                   const struct tag_facts *t, struct error *err) {
    int r = h->in_batch ? 0 : hosted_db_exec(&h->db, "BEGIN IMMEDIATE", err);
    if (r < 0) return r;
    for (size_t i = 0; i < n && r == 0; i++)
        r = hosted_db_put(&h->db, repo, &blobs[i], err);
    if (r == 0 && tag) r = hosted_db_put_tag(&h->db, repo, tag, t, err);
    if (h->in_batch) return r;
    if (r == 0) r = hosted_db_exec(&h->db, "COMMIT", err);
    if (!sqlite3_get_autocommit(h->db.db)) sqlite3_exec(h->db.db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

int hosted_add(struct hosted *h, const char *repo, const struct hosted_blob *blobs, size_t n, const char *tag,
               const struct tag_facts *t, struct error *err) {
    pthread_mutex_lock(&h->db_lock);
    int r = put_all(h, repo, blobs, n, tag, t, err);
    /* In a batch the memory is updated even if writing failed: what could not be written must stay hosted in this
     * process. */
    if (r == 0 || h->in_batch) {
        pthread_rwlock_wrlock(&h->lock);
        for (size_t i = 0; i < n; i++)
            note_blob(h, &blobs[i].digest, blobs[i].size);
        if (tag) note_tag(h, repo, tag);
        pthread_rwlock_unlock(&h->lock);
    }
    pthread_mutex_unlock(&h->db_lock);
    return r;
}

int hosted_batch_begin(struct hosted *h, struct error *err) {
    pthread_mutex_lock(&h->db_lock);
    int r = hosted_db_exec(&h->db, "BEGIN IMMEDIATE", err);
    h->in_batch = true;
    pthread_mutex_unlock(&h->db_lock);
    return r;
}

int hosted_batch_end(struct hosted *h, struct error *err) {
    pthread_mutex_lock(&h->db_lock);
    int r = hosted_db_exec(&h->db, "COMMIT", err);
    if (!sqlite3_get_autocommit(h->db.db)) sqlite3_exec(h->db.db, "ROLLBACK", NULL, NULL, NULL);
    h->in_batch = false;
    pthread_mutex_unlock(&h->db_lock);
    return r;
}

/* --- is the record complete? --- */

bool hosted_takeover_due(const struct hosted *h) {
    return h->takeover_due;
}

const char *hosted_was_lost(const struct hosted *h) {
    return h->lost[0] ? h->lost : NULL;
}

int hosted_doubt(struct hosted *h, const char *doubt, struct error *err) {
    char text[1500];
    int n = snprintf(text, sizeof(text),
                     "The record of what this central hosts may lack images: %s.\n"
                     "What could be found was put together again; `entrepot-central ls` lists it.\n"
                     "Load what is missing again: entrepot-central load LAYOUT REPOSITORY:TAG\n"
                     "Then remove this file. Until then nothing is evicted from the store.\n",
                     doubt);
    h->doubtful = true;
    return file_write_atomic(h->notice, 0600, text, (size_t)n, err);
}

int hosted_complete(struct hosted *h, const char *doubt, struct error *err) {
    int r = doubt ? hosted_doubt(h, doubt, err) : 0;
    if (r < 0) return r;
    pthread_mutex_lock(&h->db_lock);
    r = hosted_db_exec(&h->db,
                       "BEGIN; INSERT OR REPLACE INTO meta VALUES('complete', '1');"
                       "DELETE FROM meta WHERE key='lost'; COMMIT",
                       err);
    if (!sqlite3_get_autocommit(h->db.db)) sqlite3_exec(h->db.db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&h->db_lock);
    if (r == 0) h->takeover_due = false;
    return r;
}

bool hosted_is_doubtful(struct hosted *h) {
    if (h->doubtful && !exists(h->notice)) h->doubtful = false;
    return h->doubtful;
}
