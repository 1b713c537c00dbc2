/* The record of all part files: which there are, which are open, and which is the oldest; they are kept over restarts
 * until they are whole or in the way. Thread: any; under one lock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

#define PARTS_MAX 65536

int parts_claim(struct store *s, const struct digest *d, int64_t *len) {
    int r = ERR_BUSY;
    pthread_mutex_lock(&s->parts_lock);
    struct part_record *rec = map_get(s->parts, d, sizeof(*d));
    if (!rec && map_len(s->parts) < PARTS_MAX) {
        rec = xcalloc(1, sizeof(*rec));
        map_set(s->parts, d, sizeof(*d), rec);
        s->n_parts++;
    }
    if (rec && !rec->open) {
        rec->open = true;
        *len = rec->len;
        r = 0;
    }
    pthread_mutex_unlock(&s->parts_lock);
    return r;
}

void parts_unclaim(struct store *s, const struct digest *d, int64_t len) {
    pthread_mutex_lock(&s->parts_lock);
    struct part_record *rec = map_get(s->parts, d, sizeof(*d));
    if (rec && len < 0) {
        map_del(s->parts, d, sizeof(*d));
        s->n_parts--;
    } else if (rec) {
        *rec = (struct part_record){.len = len, .mtime = clock_wall_s()};
    }
    pthread_mutex_unlock(&s->parts_lock);
}

bool part_exists(struct store *s, const struct digest *d) {
    pthread_mutex_lock(&s->parts_lock);
    bool known = map_get(s->parts, d, sizeof(*d)) != NULL;
    pthread_mutex_unlock(&s->parts_lock);
    return known;
}

/* "sha256-<hex>.part" */
static bool parse_name(const char *name, struct digest *d) {
    char s[DIGEST_STR_MAX];
    size_t len = strlen(name);
    if (len < 12 || len - 5 >= sizeof(s) || strcmp(name + len - 5, ".part") != 0) return false;
    memcpy(s, name, len - 5);
    s[len - 5] = '\0';
    if (s[6] != '-') return false;
    s[6] = ':';
    return digest_parse(d, s, len - 5) == 0;
}

/* What a killed process had taken ahead. */
static void give_back(int fills_fd, const char *name, int64_t len) {
    _cleanup_(closep) int fd = openat(fills_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && ftruncate(fd, len) < 0)
        log_warn("part_trim_failed", KV_S("path", name), KV_S("why", error_name(-errno)));
}

static void note(struct store *s, int fills_fd, const char *name) {
    struct digest d;
    struct stat st;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0) {
        unlinkat(fills_fd, name, 0);
        return;
    }
    if (!parse_name(name, &d) || fstatat(fills_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) return;
    if (st.st_size == 0) {
        unlinkat(fills_fd, name, 0);
        return;
    }
    if (st.st_blocks * 512LL >= st.st_size + MiB) give_back(fills_fd, name, st.st_size);
    struct part_record *rec = xcalloc(1, sizeof(*rec));
    *rec = (struct part_record){.len = st.st_size, .mtime = st.st_mtime};
    map_set(s->parts, &d, sizeof(d), rec);
    room_count_part(s, 0, st.st_size);
    s->n_parts++;
}

int parts_scan(struct store *s, struct error *err) {
    int fd = openat(s->dir_fd, "fills", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int r = error_errno(err, "reading %s/fills", s->dir);
        closep(&fd);
        return r;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] != '.') note(s, fd, e->d_name);
    }
    closedir(dir);
    return 0;
}

struct oldest {
    const struct store *store;
    const void *key;
    int64_t mtime;
    int64_t bytes; /* of all that are closed */
};

static bool look_at(const void *key, size_t key_len, void *value, void *arg) {
    const struct part_record *rec = value;
    struct oldest *o = arg;
    (void)key_len;
    if (rec->open) return true;
    o->bytes += room_on_disk(o->store, rec->len);
    if (o->key && rec->mtime >= o->mtime) return true;
    o->key = key;
    o->mtime = rec->mtime;
    return true;
}

int64_t parts_drop_oldest(struct store *s, int64_t before, int64_t allowed) {
    struct oldest o = {.store = s};
    struct digest d;
    int64_t len = -1;
    pthread_mutex_lock(&s->parts_lock);
    map_each(s->parts, look_at, &o);
    if (o.key && (o.mtime < before || o.bytes > allowed)) {
        memcpy(&d, o.key, sizeof(d));
        struct part_record *rec = map_get(s->parts, &d, sizeof(d));
        rec->open = true; /* ours, until it is gone */
        len = rec->len;
    }
    pthread_mutex_unlock(&s->parts_lock);
    if (len < 0) return -1;
    char path[STORE_PATH_MAX];
    folder_part_path(&d, path);
    if (unlinkat(s->dir_fd, path, 0) < 0 && errno != ENOENT) {
        int r = -errno;
        log_warn("part_unlink_failed", KV_S("path", path), KV_S("why", error_name(r)));
        trouble_note(s, "removing an unfinished download", r);
        parts_unclaim(s, &d, len); /* the youngest now: others are tried before it */
        return -1;
    }
    room_count_part(s, len, 0);
    parts_unclaim(s, &d, -1);
    return room_on_disk(s, len);
}
