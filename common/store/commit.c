/* Makes a finished file a held blob: sync, rename, row, table entry, in this order. So a file in blobs/ is whole at
 * whatever moment the process or the machine stops. Threads: starts on the caller's, syncs in the work pool, ends on
 * the index writer. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/clock.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

#define INDEX_TRIES 4

struct commit {
    struct work work;
    struct writer_job job;
    struct store *store;
    struct digest digest;
    struct part *part;        /* NULL: adopted, the file is in place */
    struct table_value value; /* without scopes */
    uint32_t *scopes;
    size_t n_scopes;
    char *repository;
    struct digest *children;
    size_t n_children;
    unsigned uses;
    struct table_value row; /* as run wrote it */
    bool was_held;          /* when run wrote it */
    int code;               /* what the index said in run */
    unsigned tries;         /* tries that failed because the disk was too full for the index */
    void (*done)(int code, void *arg);
    void *arg;
};

static void *copy(const void *data, size_t len) {
    void *p = xmalloc(len + 1);
    if (len) memcpy(p, data, len);
    return p;
}

static struct commit *commit_new(struct store *s, const struct digest *d, const struct commit_info *info) {
    struct commit *c = xcalloc(1, sizeof(*c));
    c->store = s;
    c->digest = *d;
    c->value = (struct table_value){.size = info->size, .flags = info->flags};
    c->scopes = copy(info->scopes, info->n_scopes * sizeof(*info->scopes));
    c->n_scopes = info->n_scopes;
    c->repository = xstrdup_or_null(info->repository);
    c->children = copy(info->children, info->n_children * sizeof(*info->children));
    c->n_children = info->n_children;
    c->uses = info->uses;
    return c;
}

static void commit_end(struct commit *c, int code) {
    struct store *s = c->store;
    if (c->part) part_moved(c->part);
    if (c->done) c->done(code, c->arg);
    free(c->scopes);
    free(c->repository);
    free(c->children);
    free(c);
    store_work_end(s);
}

/* --- index writer --- */

/* What is held of it already, if anything, and what this commit adds but for the scopes. */
static bool merge(const struct commit *c, struct table_value *v) {
    bool held = table_find(c->store->table, &c->digest, v);
    if (!held) *v = (struct table_value){0};
    if (c->value.media) v->media = c->value.media;
    v->size = c->value.size;
    v->flags |= c->value.flags;
    return held;
}

static int put_row(struct commit *c, sqlite3 *db) {
    struct index *ix = &c->store->index;
    struct table_value v;
    int r = 0;
    c->was_held = merge(c, &v);
    for (size_t i = 0; i < c->n_scopes && r == 0; i++) {
        uint32_t scope = c->scopes[i];
        if (scope == 0 || table_scope_has(c->store->table, &c->digest, &v, scope)) continue;
        if (v.scopes[0] == 0)
            v.scopes[0] = scope;
        else if (v.scopes[1] == 0)
            v.scopes[1] = scope;
        else
            r = index_put_scope_of(ix, db, &c->digest, scope);
    }
    c->row = v;
    if (r == 0 && c->part)
        r = index_put_blob(ix, db, &c->digest, &v, clock_wall_s());
    else if (r == 0)
        r = index_adopt_blob(ix, db, &c->digest, &v, clock_wall_s());
    if (r == 0) r = index_put_children(ix, db, &c->digest, c->children, c->n_children);
    if (r == 0 && c->repository) r = index_put_repo(ix, db, c->repository, &c->digest);
    return r;
}

static void commit_run(struct writer_job *job, sqlite3 *db) {
    struct commit *c = container_of(job, struct commit, job);
    folder_sync(c->store);
    c->code = put_row(c, db);
}

/* Under the stripe: the file may have been deleted since it was moved in. */
static int enter(struct commit *c, bool *is_new) {
    char path[STORE_PATH_MAX];
    folder_blob_path(&c->digest, path);
    if (faccessat(c->store->dir_fd, path, F_OK, 0) < 0) return ERR_NOT_FOUND;
    struct table_value v;
    merge(c, &v);
    for (size_t i = 0; i < c->n_scopes; i++)
        table_scope_add(c->store->table, &c->digest, &v, c->scopes[i]);
    uint32_t now = (uint32_t)clock_wall_s();
    *is_new = held_put(c->store, &c->digest, &v, now);
    if (c->uses) {
        uint32_t id = table_find(c->store->table, &c->digest, NULL);
        for (unsigned i = 0; i < c->uses && i < TABLE_FREQ_MAX; i++)
            table_touch(c->store->table, id, now, false);
        c->store->touched = true;
    }
    /* Readers of the fill go on reading from its file, so eviction must know of them. */
    if (c->part && open_file_refs(c->part->file) > 1) {
        int kept = open_file_keep(c->part->file, (size_t)v.size, false);
        (void)kept; /* else it is sent from the file */
        files_put(c->store->files, &c->digest, c->part->file);
    }
    /* Somebody else changed the row in the same transaction, or meant to: what memory says now goes there. */
    bool same =
        v.flags == c->row.flags && v.media == c->row.media && memcmp(v.scopes, c->row.scopes, sizeof(v.scopes)) == 0;
    if (c->was_held || !*is_new || !same) held_queue_row(c->store, &c->digest, 0);
    return 0;
}

/* Under the stripe: the index would not take it, so it is a part file again, unless it is the file of a blob held
 * before. */
static int back_out(struct commit *c, int code) {
    if (table_find(c->store->table, &c->digest, NULL)) return 0;
    char path[STORE_PATH_MAX];
    folder_blob_path(&c->digest, path);
    if (!c->part) return code;
    fchmod(open_file_fd(c->part->file), 0600);
    if (renameat(c->store->dir_fd, path, c->store->dir_fd, c->part->path) < 0)
        log_warn("part_restore_failed", KV_S("path", path), KV_S("why", error_name(-errno)));
    return code;
}

static void commit_done(struct writer_job *job, int code) {
    struct commit *c = container_of(job, struct commit, job);
    struct store *s = c->store;
    bool is_new = false;
    if (code == 0) code = c->code;
    if (code == ERR_NO_SPACE && c->tries++ < INDEX_TRIES && space_make_room(s, MiB)) {
        writer_submit(s->writer, &c->job);
        return;
    }
    pthread_mutex_t *stripe = folder_stripe(s, &c->digest);
    pthread_mutex_lock(stripe);
    if (code < 0) trouble_note(s, "writing the index", code);
    code = code == 0 ? enter(c, &is_new) : back_out(c, code);
    pthread_mutex_unlock(stripe);
    if (is_new && s->cfg.on_change) s->cfg.on_change(&c->digest, true, s->cfg.arg);
    commit_end(c, code);
}

/* --- work pool --- */

static int sync_file(const struct commit *c) {
    int fd = open_file_fd(c->part->file), failure = open_file_failure(c->part->file);
    struct stat st;
    if (failure) return failure; /* whoever read it has seen so */
    if (fstat(fd, &st) < 0) return -errno;
    if (st.st_size != c->value.size) return ERR_MISMATCH;
    if (fdatasync(fd) == 0 && fchmod(fd, 0444) == 0) return 0;
    if (errno == ENOSPC || errno == EDQUOT) return ERR_NO_SPACE;
    int r = -errno;
    /* The kernel says so once: another sync would succeed, and what memory still has is not on the disk. */
    if (disk_is_bad(r)) open_file_fail(c->part->file, r);
    return r;
}

static void submit(struct commit *c) {
    c->job = (struct writer_job){.run = commit_run, .after_commit = commit_done};
    writer_submit(c->store->writer, &c->job);
}

static int move_in(struct commit *c) {
    pthread_mutex_t *stripe = folder_stripe(c->store, &c->digest);
    pthread_mutex_lock(stripe);
    int r = folder_move_in(c->store, c->part->path, &c->digest);
    if (r == 0) submit(c);
    pthread_mutex_unlock(stripe);
    return r;
}

static void commit_work(struct work *w) {
    struct commit *c = container_of(w, struct commit, work);
    int r = sync_file(c);
    if (r == ERR_NO_SPACE && space_make_room(c->store, c->value.size + MiB)) r = sync_file(c);
    if (r == 0) {
        r = move_in(c);
        for (int i = 0; r == ERR_NO_SPACE && i < INDEX_TRIES && space_make_room(c->store, MiB); i++)
            r = move_in(c); /* its folder had no room, perhaps because inodes were short */
        if (r == 0) return;
        fchmod(open_file_fd(c->part->file), 0600);
    }
    log_warn("commit_failed", KV_S("path", c->part->path), KV_S("why", error_name(r)));
    trouble_note(c->store, "moving a blob in", r);
    commit_end(c, r);
}

/* Checks for reasons to refuse before anything is moved. */
static int prepare(struct commit *c, const struct commit_info *info) {
    if (info->size < 0 || info->size > TABLE_SIZE_MAX) return ERR_TOO_BIG;
    if (info->media_type && info->media_type[0]) c->value.media = (uint16_t)held_media(c->store, info->media_type);
    return 0;
}

void part_commit(struct part *p, const struct commit_info *info, void (*done)(int code, void *arg), void *arg) {
    struct commit *c = commit_new(p->store, &p->digest, info);
    c->part = p;
    c->done = done;
    c->arg = arg;
    store_work_begin(p->store);
    int r = prepare(c, info);
    if (r < 0) {
        commit_end(c, r);
        return;
    }
    c->work.fn = commit_work;
    c->work.whose = info->whose;
    workpool_submit(p->store->pool, &c->work);
}

/* The file is in place. */
static void adopt(struct commit *c, const struct commit_info *info) {
    store_work_begin(c->store);
    int r = prepare(c, info);
    if (r < 0) {
        commit_end(c, r);
        return;
    }
    pthread_mutex_t *stripe = folder_stripe(c->store, &c->digest);
    pthread_mutex_lock(stripe);
    submit(c);
    pthread_mutex_unlock(stripe);
}

void commit_adopt(struct store *s, const struct digest *d, const struct commit_info *info) {
    adopt(commit_new(s, d, info), info);
}

/* --- the same on the caller's thread --- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    int code;
};

static void wake(int code, void *arg) {
    struct waiter *w = arg;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->code = code;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static int wait_for(struct waiter *w) {
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->cond, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return w->code;
}

int commit_and_wait(struct part *p, const struct commit_info *info) {
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct commit *c = commit_new(p->store, &p->digest, info);
    c->part = p;
    c->done = wake;
    c->arg = &w;
    store_work_begin(p->store);
    int r = prepare(c, info);
    if (r < 0)
        commit_end(c, r);
    else
        commit_work(&c->work);
    return wait_for(&w);
}

int store_adopt(struct store *s, const struct digest *d, const struct commit_info *info) {
    char path[STORE_PATH_MAX];
    struct stat st;
    folder_blob_path(d, path);
    if (fstatat(s->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT ? ERR_NOT_FOUND : -errno;
    if (!S_ISREG(st.st_mode)) return ERR_NOT_FOUND;
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct commit_info known = *info;
    known.size = st.st_size;
    struct commit *c = commit_new(s, d, &known);
    c->done = wake;
    c->arg = &w;
    adopt(c, &known);
    return wait_for(&w);
}
