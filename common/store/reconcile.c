/* Makes index and folder agree: unknown files are adopted, entries without a file are dropped. Nothing is hashed, and
 * held files are not opened, because the folder's listing names them. Thread: work pool after start; the caller of
 * verify. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/clock.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

#define FLUSH_EVERY 1024 /* adopted files; bounds what is queued */

struct pass {
    struct store *store;
    uint8_t *seen; /* a bit for each entry that there was at the beginning */
    uint32_t end;
    int64_t adopted, missing, strange;
};

/* Reads a small file that begins like JSON. NULL: it is none, or cannot be read. */
static char *read_json(int fd, size_t size) {
    char head[256];
    ssize_t n = pread(fd, head, sizeof(head), 0);
    ssize_t i = 0;
    while (i < n && isspace((unsigned char)head[i]))
        i++;
    if (i >= n || head[i] != '{') return NULL;
    char *data = malloc(size + 1);
    if (!data) return NULL;
    size_t have = 0;
    while (have < size && (n = pread(fd, data + have, size - have, (off_t)have)) > 0)
        have += (size_t)n;
    data[have] = '\0';
    if (have == size) return data;
    free(data);
    return NULL;
}

static void adopt(struct pass *p, const struct digest *d, int dir_fd, const char *name) {
    _cleanup_(closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        p->strange++;
        return;
    }
    struct store *s = p->store;
    char media[256] = "";
    struct digest *children = NULL;
    size_t n = 0;
    if (s->cfg.inspect && st.st_size <= INSPECT_MAX) {
        _cleanup_(freep) char *data = read_json(fd, (size_t)st.st_size);
        if (data && s->cfg.inspect(data, (size_t)st.st_size, media, &children, &n) < 0) media[0] = '\0';
    }
    struct commit_info info = {.size = st.st_size};
    if (media[0]) {
        info.flags = BLOB_MANIFEST;
        info.media_type = media;
        info.children = children;
        info.n_children = n;
    }
    const struct salvaged *old = s->salvaged ? map_get(s->salvaged, d, sizeof(*d)) : NULL;
    if (old) {
        info.flags |= old->flags;
        info.scopes = old->scopes;
        info.n_scopes = old->n_scopes;
    }
    size_t n_repositories = old && media[0] ? old->n_repositories : 0, i = 0;
    do {
        info.repository = i < n_repositories ? old->repositories[i] : NULL;
        commit_adopt(s, d, &info);
    } while (++i < n_repositories);
    free(children);
    s->adopted++;
    if (++p->adopted % FLUSH_EVERY == 0) writer_flush(s->writer);
}

static void look_at(struct pass *p, enum digest_alg alg, int dir_fd, const char *name) {
    char str[DIGEST_STR_MAX];
    struct digest d;
    if (name[0] == '.') return;
    int n = snprintf(str, sizeof(str), "%s:%s", digest_alg_name(alg), name);
    if (n < 0 || (size_t)n >= sizeof(str) || digest_parse(&d, str, (size_t)n) < 0) {
        p->strange++;
        return;
    }
    uint32_t id = table_find(p->store->table, &d, NULL);
    if (id && id < p->end) p->seen[id / 8] |= (uint8_t)(1u << id % 8);
    /* A blob that was added meanwhile may lack what the old index says of it. */
    if (id == 0 || (p->store->salvaged && map_get(p->store->salvaged, &d, sizeof(d)))) adopt(p, &d, dir_fd, name);
}

static void walk(struct pass *p, enum digest_alg alg) {
    for (unsigned byte = 0; byte < 256 && !p->store->closing; byte++) {
        char path[STORE_PATH_MAX];
        snprintf(path, sizeof(path), "blobs/%s/%02x", digest_alg_name(alg), byte);
        int fd = openat(p->store->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
            if (errno != ENOENT) log_warn("folder_unreadable", KV_S("path", path), KV_S("why", error_name(-errno)));
            closep(&fd);
            continue;
        }
        for (struct dirent *e; (e = readdir(dir)) && !p->store->closing;)
            look_at(p, alg, fd, e->d_name);
        closedir(dir);
    }
}

/* A file that the listing missed is looked up by name before it is dropped. */
static void drop_missing(struct pass *p) {
    struct store *s = p->store;
    for (uint32_t id = 1; id < p->end && !s->closing; id++) {
        struct digest d;
        char path[STORE_PATH_MAX];
        if (p->seen[id / 8] & (1u << id % 8) || !table_get(s->table, id, &d, NULL)) continue;
        folder_blob_path(&d, path);
        pthread_mutex_t *stripe = folder_stripe(s, &d);
        pthread_mutex_lock(stripe);
        bool gone = faccessat(s->dir_fd, path, F_OK, 0) < 0 && errno == ENOENT;
        struct table_value was;
        if (gone && held_remove(s, &d, &was)) p->missing++;
        pthread_mutex_unlock(stripe);
    }
}

void reconcile(struct store *s, int64_t *missing, int64_t *adopted) {
    int64_t began = clock_mono_ms();
    struct pass p = {.store = s, .end = table_end(s->table)};
    p.seen = xcalloc(p.end / 8 + 1, 1);
    walk(&p, DIGEST_SHA256);
    walk(&p, DIGEST_SHA512);
    drop_missing(&p);
    free(p.seen);
    writer_flush(s->writer);
    if (p.adopted || p.missing || p.strange)
        log_warn("index_reconciled", KV_I("adopted", p.adopted), KV_I("missing", p.missing), KV_I("strange", p.strange),
                 KV_I("ms", clock_mono_ms() - began));
    *missing += p.missing;
    *adopted += p.adopted;
}

static void reconcile_work(struct work *w) {
    struct store *s = container_of(w, struct store, reconcile_work);
    int64_t missing = 0, adopted = 0;
    reconcile(s, &missing, &adopted);
    map_free(s->salvaged);
    s->salvaged = NULL;
    pthread_mutex_lock(&s->idle_lock);
    s->reconciled = true;
    pthread_mutex_unlock(&s->idle_lock);
    store_work_end(s);
}

void reconcile_start(struct store *s) {
    store_work_begin(s);
    s->reconcile_work.fn = reconcile_work;
    workpool_submit(s->pool, &s->reconcile_work);
}
