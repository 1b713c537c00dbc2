/* The only functions by which blobs become held or stop being held, so that table, eviction queues, counters, row and
 * the owner's callback always agree. Thread: any that may block, under the digest's stripe. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/core/clock.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

#define USE_BATCH 512

void held_info(const struct store *s, const struct table_value *v, struct blob_info *info) {
    info->size = v->size;
    info->flags = v->flags;
    info->media_type = intern_name(s->media, v->media);
}

static bool evictable(const struct table_value *v) {
    return !(v->flags & BLOB_HOSTED);
}

void held_count(struct store *s, const struct table_value *v, int sign) {
    int64_t on_disk = room_on_disk(s, v->size);
    s->blobs += sign;
    s->bytes += sign * v->size;
    s->blobs_on_disk += sign * on_disk;
    if (!evictable(v)) s->fixed_on_disk += sign * on_disk;
    if (!(v->flags & BLOB_MANIFEST)) return;
    s->manifests += sign;
    s->manifests_on_disk += sign * on_disk;
}

bool held_put(struct store *s, const struct digest *d, const struct table_value *v, uint32_t used_at) {
    struct table_value was;
    uint32_t id = table_find(s->table, d, &was);
    bool existed, queued = false;
    pthread_mutex_lock(&s->evict_lock);
    if (id) {
        held_count(s, &was, -1);
        queued = evict_has(s->evict, id);
        if (queued && (was.size != v->size || !evictable(v))) {
            evict_remove(s->evict, id);
            queued = false;
        }
    }
    id = table_put(s->table, d, v, used_at, &existed);
    if (!queued && evictable(v)) {
        if (existed)
            evict_keep(s->evict, id);
        else
            evict_add(s->evict, id, table_hash(s->table, d));
    }
    pthread_mutex_unlock(&s->evict_lock);
    held_count(s, v, 1);
    return !existed;
}

struct drop {
    struct writer_job job;
    struct store *store;
    struct digest digest;
    bool manifest;
};

static void drop_run(struct writer_job *job, sqlite3 *db) {
    struct drop *p = container_of(job, struct drop, job);
    int r = index_drop_blob(&p->store->index, db, &p->digest, p->manifest);
    /* The row that is left has no file, so the next start drops it. */
    if (r < 0) log_warn("index_drop_failed", KV_S("why", error_name(r)));
}

static void drop_done(struct writer_job *job, int code) {
    struct drop *p = container_of(job, struct drop, job);
    struct store *s = p->store;
    (void)code;
    /* It may be held again by now, and that was reported. */
    if (s->cfg.on_change && !table_find(s->table, &p->digest, NULL)) s->cfg.on_change(&p->digest, false, s->cfg.arg);
    free(p);
}

bool held_remove(struct store *s, const struct digest *d, struct table_value *was) {
    uint32_t id = table_find(s->table, d, was);
    if (!id) return false;
    pthread_mutex_lock(&s->evict_lock);
    evict_remove(s->evict, id);
    table_remove(s->table, d);
    table_release(s->table, id);
    pthread_mutex_unlock(&s->evict_lock);
    held_count(s, was, -1);
    files_drop(s->files, d);
    struct drop *p = xcalloc(1, sizeof(*p));
    *p = (struct drop){.job = {.run = drop_run, .after_commit = drop_done},
                       .store = s,
                       .digest = *d,
                       .manifest = was->flags & BLOB_MANIFEST};
    writer_submit(s->writer, &p->job);
    return true;
}

static int unlink_failed(struct store *s, const char *path, bool moving, int code) {
    log_warn(moving ? "blob_move_failed" : "blob_unlink_failed", KV_S("path", path), KV_S("why", error_name(code)));
    trouble_note(s, moving ? "moving a blob to quarantine" : "removing a blob", code);
    return code;
}

int held_discard(struct store *s, const struct digest *d, const char *to) {
    struct table_value was;
    if (!held_remove(s, d, &was)) return ERR_NOT_FOUND;
    char path[STORE_PATH_MAX];
    folder_blob_path(d, path);
    int r = to ? renameat(s->dir_fd, path, s->dir_fd, to) : unlinkat(s->dir_fd, path, 0);
    return r < 0 && errno != ENOENT ? unlink_failed(s, path, to != NULL, -errno) : 0;
}

/* A lookup in between finds no file and waits for the stripe to drop the blob, which is gone by then. */
int64_t held_evict(struct store *s, const struct digest *d) {
    struct table_value was;
    char path[STORE_PATH_MAX];
    if (!table_find(s->table, d, &was)) return 0;
    folder_blob_path(d, path);
    if (unlinkat(s->dir_fd, path, 0) < 0 && errno != ENOENT) return unlink_failed(s, path, false, -errno);
    if (room_inodes_short(s)) folder_drop_empty(s, d);
    if (!held_remove(s, d, &was)) return 0;
    s->evictions++;
    s->evicted_bytes += was.size;
    return was.size > 0 ? room_on_disk(s, was.size) : 1; /* an empty file has its inode */
}

/* --- names --- */

struct name_job {
    struct writer_job job;
    struct store *store;
    int (*put)(struct index *ix, sqlite3 *db, uint32_t id, const char *name);
    uint32_t id;
    char name[];
};

static void name_run(struct writer_job *job, sqlite3 *db) {
    struct name_job *n = container_of(job, struct name_job, job);
    int r = n->put(&n->store->index, db, n->id, n->name);
    if (r < 0) log_error("index_name_failed", KV_S("name", n->name), KV_S("why", error_name(r)));
}

static void name_done(struct writer_job *job, int code) {
    (void)code;
    free(container_of(job, struct name_job, job));
}

/* Under names_lock. */
static void queue_name(struct store *s, int (*put)(struct index *ix, sqlite3 *db, uint32_t id, const char *name),
                       uint32_t id, const char *name) {
    struct name_job *n = xcalloc(1, sizeof(*n) + strlen(name) + 1);
    n->job = (struct writer_job){.run = name_run, .after_commit = name_done, .persists = true};
    n->store = s;
    n->put = put;
    n->id = id;
    memcpy(n->name, name, strlen(name) + 1);
    writer_submit(s->writer, &n->job);
}

static uint32_t media_number(struct store *s, const char *name) {
    bool is_new;
    pthread_mutex_lock(&s->names_lock);
    uint32_t id = intern_get(s->media, name, &is_new);
    if (is_new) queue_name(s, index_put_media, id, name);
    pthread_mutex_unlock(&s->names_lock);
    return id;
}

uint32_t held_media(struct store *s, const char *name) {
    uint32_t id = media_number(s, name);
    return id ? id : media_number(s, INTERN_MEDIA_ANY);
}

/* --- scopes --- */

uint32_t store_scope_find(struct store *s, const char *name) {
    return scopes_find(s->scopes, name);
}

uint64_t store_scope_epoch(const struct store *s) {
    return scopes_epoch(s->scopes);
}

int store_scope(struct store *s, const char *name, uint32_t *id) {
    bool is_new;
    pthread_mutex_lock(&s->names_lock);
    *id = scopes_make(s->scopes, name, &is_new);
    if (is_new) queue_name(s, index_put_scope, *id, name);
    pthread_mutex_unlock(&s->names_lock);
    return *id ? 0 : ERR_BUSY;
}

struct unname_job {
    struct writer_job job;
    struct store *store;
    uint32_t *ids;
    size_t n;
};

static void unname_run(struct writer_job *job, sqlite3 *db) {
    struct unname_job *u = container_of(job, struct unname_job, job);
    int r = 0;
    for (size_t i = 0; i < u->n && r == 0; i++)
        r = index_drop_scope(&u->store->index, db, u->ids[i]);
    /* The rows that are left are of scopes without content, so the next start drops them. */
    if (r < 0) log_warn("index_drop_failed", KV_S("why", error_name(r)));
}

static void unname_done(struct writer_job *job, int code) {
    struct unname_job *u = container_of(job, struct unname_job, job);
    (void)code;
    free(u->ids);
    free(u);
}

static void note_used(uint32_t scope, void *used) {
    scopes_use(used, scope);
}

void held_sweep_scopes(struct store *s) {
    struct scopes_used *used = xcalloc(1, sizeof(*used));
    struct unname_job *u = xcalloc(1, sizeof(*u));
    table_each_scope(s->table, note_used, used);
    *u = (struct unname_job){.job = {.run = unname_run, .after_commit = unname_done}, .store = s};
    u->n = scopes_sweep(s->scopes, used, &u->ids);
    free(used);
    if (u->n)
        writer_submit(s->writer, &u->job);
    else
        unname_done(&u->job, 0);
}

/* --- changes of a held blob's row --- */

struct row_job {
    struct writer_job job;
    struct store *store;
    struct digest digest;
    uint32_t scope; /* 0: none */
};

static void row_run(struct writer_job *job, sqlite3 *db) {
    struct row_job *j = container_of(job, struct row_job, job);
    struct table_value v;
    uint32_t id = table_find(j->store->table, &j->digest, &v);
    if (!id) return;
    int r = index_put_blob(&j->store->index, db, &j->digest, &v, table_used_at(j->store->table, id));
    bool beside = j->scope && v.scopes[0] != j->scope && v.scopes[1] != j->scope;
    if (r == 0 && beside) r = index_put_scope_of(&j->store->index, db, &j->digest, j->scope);
    if (r < 0) log_warn("index_update_failed", KV_S("why", error_name(r)));
}

static void row_done(struct writer_job *job, int code) {
    (void)code;
    free(container_of(job, struct row_job, job));
}

void held_queue_row(struct store *s, const struct digest *d, uint32_t scope) {
    struct row_job *j = xcalloc(1, sizeof(*j));
    *j = (struct row_job){{.run = row_run, .after_commit = row_done, .persists = true}, s, *d, scope};
    writer_submit(s->writer, &j->job);
}

void store_add_scope(struct store *s, const struct digest *d, uint32_t scope) {
    struct table_value v;
    uint32_t id = table_find(s->table, d, &v);
    if (!id || scope == 0 || table_scope_has(s->table, d, &v, scope)) return;
    pthread_mutex_t *stripe = folder_stripe(s, d);
    pthread_mutex_lock(stripe);
    id = table_find(s->table, d, &v);
    if (id && table_scope_add(s->table, d, &v, scope)) {
        held_put(s, d, &v, 0);
        held_queue_row(s, d, scope);
    }
    pthread_mutex_unlock(stripe);
}

void store_set_hosted(struct store *s, const struct digest *d, bool hosted) {
    pthread_mutex_t *stripe = folder_stripe(s, d);
    pthread_mutex_lock(stripe);
    struct table_value v;
    if (table_find(s->table, d, &v)) {
        unsigned flags = hosted ? v.flags | BLOB_HOSTED : v.flags & ~(unsigned)BLOB_HOSTED;
        bool changes = flags != v.flags;
        v.flags = flags;
        held_put(s, d, &v, 0); /* it may have to queue again for eviction though its flags are the same */
        if (changes) held_queue_row(s, d, 0);
    }
    pthread_mutex_unlock(stripe);
}

/* --- use --- */

struct use_job {
    struct writer_job job;
    struct store *store;
    size_t n;
    struct {
        struct digest digest;
        uint32_t used_at;
        unsigned freq;
    } used[USE_BATCH];
};

static void use_run(struct writer_job *job, sqlite3 *db) {
    struct use_job *j = container_of(job, struct use_job, job);
    int r = 0;
    for (size_t i = 0; i < j->n && r == 0; i++)
        r = index_put_used(&j->store->index, db, &j->used[i].digest, j->used[i].used_at, j->used[i].freq);
}

static void use_done(struct writer_job *job, int code) {
    (void)code;
    free(container_of(job, struct use_job, job));
}

void held_flush_use(struct store *s) {
    if (!atomic_exchange(&s->touched, false)) return;
    struct use_job *j = NULL;
    for (uint32_t id = 1, end = table_end(s->table); id < end; id++) {
        struct digest d;
        if (!table_take_dirty(s->table, id) || !table_get(s->table, id, &d, NULL)) continue;
        if (!j) {
            j = xcalloc(1, sizeof(*j));
            j->job = (struct writer_job){.run = use_run, .after_commit = use_done};
            j->store = s;
        }
        j->used[j->n].digest = d;
        j->used[j->n].used_at = table_used_at(s->table, id);
        j->used[j->n++].freq = table_freq(s->table, id);
        if (j->n == USE_BATCH) {
            writer_submit(s->writer, &j->job);
            j = NULL;
        }
    }
    if (j) writer_submit(s->writer, &j->job);
}
