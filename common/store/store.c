/* Opening and closing of the store, looking up, and opening of blobs. Threads: see store.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/core/clock.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

#define FILES_MAX 4096

/* --- the index --- */

static bool on_media(uint32_t id, const char *name, void *arg) {
    return intern_put(((struct store *)arg)->media, id, name) == 0;
}

static bool on_scope(uint32_t id, const char *name, void *arg) {
    return scopes_put(((struct store *)arg)->scopes, id, name);
}

static void on_count(int64_t blobs, void *arg) {
    table_reserve(((struct store *)arg)->table, (size_t)blobs);
}

static bool on_blob(const struct digest *d, struct table_value *v, uint32_t used_at, unsigned freq, void *arg) {
    struct store *s = arg;
    bool existed;
    for (unsigned i = 0; i < TABLE_SCOPES; i++)
        scopes_reserve(s->scopes, v->scopes[i]);
    /* Its media type's row was lost on a full disk: left out, its file is adopted and looked into again. */
    if (v->media && !intern_name(s->media, v->media)) {
        intern_reserve(s->media, v->media);
        return true;
    }
    uint32_t id = table_put(s->table, d, v, used_at, &existed);
    table_set_freq(s->table, id, freq);
    held_count(s, v, 1);
    return true;
}

static void on_scope_of(const struct digest *d, uint32_t scope, void *arg) {
    struct store *s = arg;
    struct table_value v;
    bool existed;
    uint32_t id = table_find(s->table, d, &v);
    scopes_reserve(s->scopes, scope);
    if (id && table_scope_add(s->table, d, &v, scope)) table_put(s->table, d, &v, 0, &existed);
}

static void on_tag(const char *repo, const char *tag, const struct tag_facts *rec, void *arg) {
    tags_set(((struct store *)arg)->tags, repo, tag, rec);
}

static void memory_new(struct store *s) {
    s->table = table_new();
    s->media = intern_new_media();
    s->scopes = scopes_new(s->cfg.scopes_max);
    s->tags = tags_new();
    s->blobs = s->bytes = s->manifests = s->blobs_on_disk = s->manifests_on_disk = s->fixed_on_disk = 0;
}

static void memory_free(struct store *s) {
    tags_free(s->tags);
    scopes_free(s->scopes);
    intern_free(s->media);
    table_free(s->table);
}

/* Through a connection that is closed again, so that neither its cache nor its mapping stays resident. alone: needs no
 * room on the disk (the write-ahead log's index is kept in memory), but nobody else may read meanwhile. */
static int load_from(struct store *s, const char *path, bool alone, struct error *err) {
    sqlite3 *db = NULL;
    int r = db_open(&db, path, SQLITE_OPEN_READWRITE, err);
    if (r == 0) {
        db_keep_log(db);
        if (alone) sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
        sqlite3_exec(db, "PRAGMA mmap_size=1073741824", NULL, NULL, NULL);
        r = index_check(db, err);
    }
    const struct index_loader l = {on_media, on_scope, on_count, on_blob, on_scope_of, on_tag, s};
    if (r == 0) r = index_load(db, &l, err);
    sqlite3_close(db);
    return r < 0 ? error_wrap(err, "%s", path) : r;
}

/* 1: there is none, or nothing in it. */
static int load_index(struct store *s, const char *path, struct error *err) {
    if (access(path, F_OK) < 0) return 1;
    int r = load_from(s, path, false, err);
    if (r != ERR_NO_SPACE) return r;
    memory_free(s);
    memory_new(s);
    return load_from(s, path, true, err);
}

/* On a full disk the index itself has no room: blobs make some, as they would for a fill. */
static int open_writer(struct store *s, const char *path, struct error *err) {
    int r = writer_open(&s->writer, path, "index-writer", index_schema, 512, err);
    if (r == ERR_NO_SPACE && space_clear(s) > 0)
        r = writer_open(&s->writer, path, "index-writer", index_schema, 512, err);
    return r;
}

static void put_aside(const char *path) {
    static const char *const files[] = {"", "-wal", "-shm"};
    char from[4200], to[4200];
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(from, sizeof(from), "%s%s", path, files[i]);
        snprintf(to, sizeof(to), "%s.old%s", path, files[i]);
        unlink(to);
        if (rename(from, to) < 0 && errno != ENOENT)
            log_warn("index_put_aside_failed", KV_S("path", from), KV_S("why", error_name(-errno)));
    }
}

/* Has anything ever been kept here? A folder of blobs is made with its first one. */
static bool has_blobs(const struct store *s) {
    static const char *const dirs[] = {"blobs/sha256", "blobs/sha512"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(dirs) && !found; i++) {
        int fd = openat(s->dir_fd, dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        for (struct dirent *e; dir && !found && (e = readdir(dir));)
            found = e->d_name[0] != '.';
        if (dir)
            closedir(dir);
        else
            closep(&fd);
    }
    return found;
}

static bool damaged(int code) {
    return code == ERR_CORRUPT || code == ERR_INTERNAL;
}

static int open_index(struct store *s, bool fresh, struct error *err) {
    char path[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s/index.db", s->dir) >= sizeof(path) - 16)
        return error_set(err, ERR_TOO_BIG, "the path %s is too long", s->dir);
    struct error why = {0};
    int r = fresh ? ERR_CORRUPT : load_index(s, path, &why);
    s->index_is_new = r > 0 && has_blobs(s);
    if (r >= 0) r = open_writer(s, path, &why);
    bool rebuilt = damaged(r);
    if (rebuilt) {
        if (!fresh) log_error("index_rebuilt", KV_S("path", path), KV_S("why", why.msg), KV_S("kept", "index.db.old"));
        s->index_is_new = true;
        put_aside(path);
        memory_free(s);
        memory_new(s);
        r = open_writer(s, path, &why);
    }
    if (r < 0) {
        if (err) *err = why;
        return r;
    }
    if (rebuilt)
        salvage(s, path);
    else
        held_sweep_scopes(s);
    return writer_reader(s->writer, &s->children_db, err);
}

/* --- opening and closing --- */

/* A quarter of the descriptors we may have; clients need the others. */
static unsigned files_max(void) {
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur / 4 > FILES_MAX) return FILES_MAX;
    return lim.rlim_cur / 4 < 64 ? 64 : (unsigned)(lim.rlim_cur / 4);
}

static struct store *store_new(const struct store_config *cfg) {
    struct store *s = xcalloc(1, sizeof(*s));
    s->cfg = *cfg;
    s->dir = xstrdup(cfg->dir);
    s->dir_fd = s->lock_fd = -1;
    if (!cfg->pool) s->own_pool = workpool_new("store", 2);
    s->pool = cfg->pool ? cfg->pool : s->own_pool;
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&s->stripes[i], NULL);
    pthread_mutex_init(&s->names_lock, NULL);
    pthread_mutex_init(&s->evict_lock, NULL);
    pthread_mutex_init(&s->bulk_lock, NULL);
    pthread_mutex_init(&s->children_lock, NULL);
    pthread_mutex_init(&s->parts_lock, NULL);
    pthread_mutex_init(&s->idle_lock, NULL);
    pthread_mutex_init(&s->quarantine_lock, NULL);
    pthread_mutex_init(&s->trouble.lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    s->files = files_new(files_max());
    s->parts = map_new(free);
    memory_new(s);
    return s;
}

static void store_free(struct store *s) {
    sqlite3_finalize(s->children_of);
    sqlite3_close(s->children_db);
    writer_close(s->writer);
    if (s->own_pool) workpool_free(s->own_pool);
    memory_free(s);
    files_free(s->files);
    map_free(s->parts);
    evict_free(s->evict);
    closep(&s->dir_fd);
    closep(&s->lock_fd);
    pthread_cond_destroy(&s->idle);
    map_free(s->salvaged);
    guard_close(s);
    free(s->cleared);
    free(s->dir);
    free(s);
}

int store_open_with(struct store **out, const struct store_config *cfg, bool fresh, struct error *err) {
    struct store *s = store_new(cfg);
    int r = folder_open(s, err);
    if (r == 0) r = parts_scan(s, err);
    if (r == 0) quarantine_bound(s);
    if (r == 0) r = guard_open(s, err);
    if (r == 0) r = open_index(s, fresh, err);
    if (r == 0) r = space_start(s, err);
    if (r < 0) {
        store_free(s);
        return r;
    }
    reconcile_start(s);
    tags_keep_bounded(s);
    *out = s;
    return 0;
}

int store_open(struct store **out, const struct store_config *cfg, struct error *err) {
    return store_open_with(out, cfg, false, err);
}

bool store_index_is_new(const struct store *s) {
    return s->index_is_new;
}

void store_close(struct store *s) {
    if (!s) return;
    s->closing = true;
    pthread_mutex_lock(&s->idle_lock);
    while (s->in_flight > 0)
        pthread_cond_wait(&s->idle, &s->idle_lock);
    pthread_mutex_unlock(&s->idle_lock);
    space_stop(s);
    held_flush_use(s);
    store_free(s);
}

/* --- looking up and reading --- */

bool store_lookup(const struct store *s, const struct digest *d, struct blob_info *info) {
    struct table_value v;
    if (!table_find(s->table, d, &v)) return false;
    held_info(s, &v, info);
    return true;
}

bool store_lookup_in(const struct store *s, const struct digest *d, uint32_t scope, struct blob_info *info) {
    struct table_value v;
    if (!table_find(s->table, d, &v) || !table_scope_has(s->table, d, &v, scope)) return false;
    held_info(s, &v, info);
    return true;
}

/* The table says we hold it; the folder says no. A file of the wrong size goes, but one that nobody could give back. */
static int lost(struct store *s, const struct digest *d, const char *why) {
    char name[DIGEST_STR_MAX];
    struct table_value was = {0};
    pthread_mutex_t *stripe = folder_stripe(s, d);
    pthread_mutex_lock(stripe);
    bool kept = table_find(s->table, d, &was) && guard_keeps(s, d, was.flags);
    bool held = kept ? held_remove(s, d, &was) : held_discard(s, d, NULL) != ERR_NOT_FOUND;
    pthread_mutex_unlock(stripe);
    if (held) log_error("blob_lost", KV_S("digest", digest_str(d, name)), KV_S("why", why), KV_I("must_stay", kept));
    return ERR_NOT_FOUND;
}

/* Has the blob another file by now? It was fetched again. */
static bool is_replaced(const struct store *s, const struct digest *d, const struct open_file *file) {
    char path[STORE_PATH_MAX];
    struct stat was, is;
    folder_blob_path(d, path);
    return file && fstat(open_file_fd(file), &was) == 0 && fstatat(s->dir_fd, path, &is, AT_SYMLINK_NOFOLLOW) == 0 &&
           was.st_ino != is.st_ino;
}

bool store_unreadable(struct store *s, const struct digest *d, const struct open_file *file, int code) {
    char name[DIGEST_STR_MAX];
    struct table_value was = {0};
    pthread_mutex_t *stripe = folder_stripe(s, d);
    pthread_mutex_lock(stripe);
    bool held = table_find(s->table, d, &was) && !is_replaced(s, d, file), kept = held && guard_keeps(s, d, was.flags);
    bool drops = held && !kept && disk_is_bad(code);
    int gone = drops ? held_discard(s, d, NULL) : 0;
    (void)gone; /* logged; held no more in any case */
    pthread_mutex_unlock(stripe);
    if (!held) return true;
    files_drop(s->files, d); /* what stays is tried anew */
    log_error("blob_unreadable", KV_S("digest", digest_str(d, name)), KV_S("why", error_name(code)),
              KV_S("then", drops  ? "dropped, to be fetched again"
                           : kept ? "kept: it has no other source"
                                  : "kept"));
    return drops;
}

/* now: only as far as it goes without waiting for a disk, else -EAGAIN (openat2(2), Linux 5.12; before, it waits). */
static int open_path(const struct store *s, const char *path, bool now) {
    static atomic_bool cannot_tell;
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, .resolve = RESOLVE_CACHED};
    if (now && !atomic_load_explicit(&cannot_tell, memory_order_relaxed)) {
        int fd = (int)syscall(SYS_openat2, s->dir_fd, path, &how, sizeof(how));
        if (fd >= 0) return fd;
        if (errno == ENOENT) return -ENOENT;
        if (errno != ENOSYS && errno != EPERM && errno != EINVAL) return -EAGAIN;
        atomic_store_explicit(&cannot_tell, true, memory_order_relaxed);
    }
    int fd = openat(s->dir_fd, path, (int)how.flags);
    return fd >= 0 ? fd : -errno;
}

static int open_fresh(struct store *s, const struct digest *d, int64_t size, bool now, struct open_file **out) {
    char path[STORE_PATH_MAX];
    folder_blob_path(d, path);
    int fd = open_path(s, path, now);
    if (disk_is_bad(fd)) return now ? -EAGAIN : store_unreadable(s, d, NULL, fd) ? ERR_NOT_FOUND : fd;
    if (fd < 0 && fd != -ENOENT) return fd;
    if (fd < 0)
        return now ? -EAGAIN : table_find(s->table, d, NULL) ? lost(s, d, "its file is missing") : ERR_NOT_FOUND;
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r < 0 || st.st_size != size) {
        close(fd);
        if (now) return -EAGAIN;
        if (disk_is_bad(r)) return store_unreadable(s, d, NULL, r) ? ERR_NOT_FOUND : r;
        return r < 0 ? r : lost(s, d, "its file has the wrong size");
    }
    struct open_file *file = open_file_new(fd);
    r = open_file_keep(file, (size_t)size, now);
    if (r == -EAGAIN || disk_is_bad(r)) {
        open_file_unref(file);
        if (now) return -EAGAIN;
        return store_unreadable(s, d, NULL, r) ? ERR_NOT_FOUND : r;
    }
    files_put(s->files, d, file);
    *out = file;
    /* Evicted meanwhile: a descriptor that stays would hold its disk space for ever. */
    if (!table_find(s->table, d, NULL)) files_drop(s->files, d);
    return 0;
}

/* What is in memory was whole when it was read, and nothing can cut it. */
static bool is_whole(const struct open_file *f, int64_t size) {
    struct stat st;
    size_t len;
    if (open_file_content(f, &len)) return true;
    return fstat(open_file_fd(f), &st) == 0 && st.st_size == size;
}

static void touch(struct store *s, uint32_t id, enum store_use use) {
    table_touch(s->table, id, (uint32_t)clock_wall_s(), use != USE_WHOLE);
    if (!atomic_load_explicit(&s->touched, memory_order_relaxed)) s->touched = true;
}

static int open_blob(struct store *s, const struct digest *d, enum store_use use, bool now, struct open_file **out,
                     struct blob_info *info) {
    struct table_value v;
    uint32_t id = table_find(s->table, d, &v);
    if (!id) return ERR_NOT_FOUND;
    *out = files_get(s->files, d);
    int failure = *out ? open_file_failure(*out) : 0;
    if (failure) {
        struct open_file *failed = *out;
        *out = NULL;
        bool gone = !now && store_unreadable(s, d, failed, failure);
        open_file_unref(failed);
        if (now) return -EAGAIN;
        if (gone) return ERR_NOT_FOUND;
    }
    if (*out && use != USE_LOOK && !is_whole(*out, v.size)) {
        /* Somebody has cut it: the entry goes when it is opened anew. */
        open_file_unref(*out);
        *out = NULL;
        files_drop(s->files, d);
    }
    int r = *out ? 0 : open_fresh(s, d, v.size, now, out);
    if (r < 0) return r;
    held_info(s, &v, info);
    touch(s, id, use);
    return 0;
}

int store_open_blob(struct store *s, const struct digest *d, enum store_use use, struct open_file **out,
                    struct blob_info *info) {
    return open_blob(s, d, use, false, out, info);
}

int store_open_blob_now(struct store *s, const struct digest *d, enum store_use use, struct open_file **out,
                        struct blob_info *info) {
    return open_blob(s, d, use, true, out, info);
}

int store_read_blob(struct store *s, const struct digest *d, size_t limit, char **data, size_t *len,
                    struct blob_info *info) {
    _cleanup_(open_file_unrefp) struct open_file *file = NULL;
    int r = store_open_blob(s, d, USE_WHOLE, &file, info);
    if (r < 0) return r;
    if ((uint64_t)info->size > limit) return ERR_TOO_BIG;
    _cleanup_(freep) char *buf = malloc((size_t)info->size + 1);
    if (!buf) return -ENOMEM;
    size_t have = 0;
    while (have < (size_t)info->size) {
        ssize_t n = pread(open_file_fd(file), buf + have, (size_t)info->size - have, (off_t)have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            r = n < 0 ? -errno : ERR_CORRUPT;
            if (disk_is_bad(r)) store_unreadable(s, d, NULL, r);
            return r;
        }
        have += (size_t)n;
    }
    buf[have] = '\0';
    *data = buf;
    *len = have;
    buf = NULL;
    return 0;
}

int store_sync(struct store *s) {
    return writer_sync(s->writer);
}
