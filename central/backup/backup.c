/* Makes a backup: the identity folder, the databases, the hosted blobs, then the list of all. Thread: main of a
 * command. */
#include "central/backup/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "central/backup/copy.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/version.h"
#include "common/db/db.h"

struct making {
    const char *data, *to;
    json_t *files;
    struct backup_report *report;
};

static char *join(const char *dir, const char *name) {
    return xasprintf("%s/%s", dir, name);
}

/* Notes a file of the backup. */
static int note(struct making *m, const char *name, struct error *err) {
    char hex[COPY_HEX_MAX];
    int64_t size;
    _cleanup_(freep) char *path = join(m->to, name);
    int r = copy_hash(path, hex, &size, err);
    if (r == 0) json_object_set_new(m->files, name, json_pack("{s:s, s:I}", "sha256", hex, "bytes", (json_int_t)size));
    return r;
}

/* --- the authority --- */

/* A digest of the folder's names, sizes and times, by which a change is noticed. */
static int64_t state_of(const char *dir) {
    int64_t sum = 0;
    DIR *d = opendir(dir);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        sum += (int64_t)st.st_ino * 31 + st.st_size + st.st_mtim.tv_sec * 7 + st.st_mtim.tv_nsec;
    }
    closedir(d);
    return sum;
}

static bool is_temporary(const char *name) {
    return name[0] == '.' || strstr(name, ".tmp");
}

static int copy_folder(struct making *m, const char *from, const char *to, struct error *err) {
    DIR *d = opendir(from);
    if (!d) return error_errno(err, "opening %s", from);
    int r = mkdir(to, 0700) == 0 || errno == EEXIST ? 0 : error_errno(err, "creating %s", to);
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        if (is_temporary(e->d_name)) continue;
        _cleanup_(freep) char *a = join(from, e->d_name), *b = join(to, e->d_name), *name = join("identity", e->d_name);
        unlink(b); /* of a try before */
        r = copy_file(a, b, 0600, false, err);
        if (r == 0) r = note(m, name, err);
    }
    closedir(d);
    return r;
}

/* A step of a rotation may change the folder during the copy: then it is copied once more. */
static int copy_identity(struct making *m, struct error *err) {
    _cleanup_(freep) char *from = join(m->data, "identity"), *to = join(m->to, "identity");
    for (unsigned tries = 0; tries < 10; tries++) {
        int64_t before = state_of(from);
        int r = copy_folder(m, from, to, err);
        if (r == 0 && state_of(from) == before) return copy_sync_dir(to, err);
        if (r < 0 && r != -ENOENT) return r;
        *err = (struct error){0};
    }
    return error_set(err, ERR_BUSY, "%s keeps changing: try again", from);
}

/* --- databases --- */

static int copy_db(struct making *m, const char *name, bool needed, struct error *err) {
    _cleanup_(freep) char *from = join(m->data, name), *to = join(m->to, name);
    if (access(from, F_OK) < 0) {
        if (errno != ENOENT) return error_errno(err, "opening %s", from);
        if (!needed) return 0;
        error_set(err, ERR_NOT_FOUND, "there is no %s: this is not the data folder of a central", from);
        error_hint(
            err,
            "start central first, which makes it; if its folder is another one: --config FILE, or --set data=FOLDER");
        return ERR_NOT_FOUND;
    }
    int r = copy_database(from, to, err);
    return r == 0 ? note(m, name, err) : r;
}

/* --- what is hosted --- */

int backup_each_blob(const char *hosted_db, int (*fn)(const char *name, void *arg, struct error *err), void *arg,
                     struct error *err) {
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int r = db_open(&db, hosted_db, SQLITE_OPEN_READONLY, err);
    if (r < 0) return r;
    if (sqlite3_prepare_v2(db, "SELECT digest FROM blobs", -1, &st, NULL) != SQLITE_OK)
        r = db_error(db, err, "reading hosted.db");
    int rc = SQLITE_DONE;
    while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct digest d;
        char hex[DIGEST_STR_MAX], name[DIGEST_STR_MAX + 32];
        if (!db_column_digest(st, 0, &d)) {
            r = error_set(err, ERR_CORRUPT, "hosted.db: a digest is malformed");
            break;
        }
        digest_hex(&d, hex);
        snprintf(name, sizeof(name), "blobs/%s/%.2s/%s", digest_alg_name((enum digest_alg)d.alg), hex, hex);
        r = fn(name, arg, err);
    }
    if (r == 0 && rc != SQLITE_DONE) r = db_error(db, err, "reading hosted.db");
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

static int copy_blob(const char *name, void *arg, struct error *err) {
    struct making *m = arg;
    struct stat st;
    _cleanup_(freep) char *from = join(m->data, name), *to = join(m->to, name), *dir = xstrdup(to);
    if (stat(from, &st) < 0 && errno == ENOENT) {
        m->report->missing++;
        return 0;
    }
    *strrchr(dir, '/') = '\0';
    int r = dir_make_all(dir, 0700, err);
    if (r == 0) r = copy_file(from, to, 0444, true, err);
    if (r < 0) return r;
    m->report->blobs++;
    m->report->bytes += st.st_size;
    return 0;
}

static int copy_blobs(struct making *m, struct error *err) {
    _cleanup_(freep) char *db = join(m->to, "hosted.db");
    return access(db, F_OK) == 0 ? backup_each_blob(db, copy_blob, m, err) : 0;
}

/* --- all of it --- */

static int make_empty_folder(const char *to, struct error *err) {
    int r = dir_make_all(to, 0700, err);
    if (r < 0) return r;
    DIR *d = opendir(to);
    if (!d) return error_errno(err, "opening %s", to);
    bool empty = true;
    for (struct dirent *e; (e = readdir(d));)
        empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
    closedir(d);
    if (empty) return 0;
    error_set(err, -EEXIST, "%s is not empty", to);
    error_hint(err, "give a new folder for each backup; files that have not changed take no room on the same disk");
    return -EEXIST;
}

static int copy_config(struct making *m, const char *config, struct error *err) {
    _cleanup_(freep) char *to = join(m->to, "central.yaml");
    if (!config || access(config, R_OK) < 0) return 0;
    int r = copy_file(config, to, 0600, false, err);
    return r == 0 ? note(m, "central.yaml", err) : r;
}

static int write_list(struct making *m, struct error *err) {
    _cleanup_(freep) char *path = join(m->to, BACKUP_FILE), *text = NULL;
    json_t *doc = json_pack("{s:s, s:i, s:I, s:s, s:I, s:I, s:I, s:O}", "kind", "entrepot-central backup", "version",
                            BACKUP_VERSION, "made_at", (json_int_t)clock_wall_s(), "made_by", entrepot_version,
                            "hosted_blobs", (json_int_t)m->report->blobs, "hosted_bytes", (json_int_t)m->report->bytes,
                            "hosted_missing", (json_int_t)m->report->missing, "files", m->files);
    text = json_dumps(doc, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(doc);
    if (!text) out_of_memory();
    int r = file_write_atomic(path, 0600, text, strlen(text), err);
    return r == 0 ? copy_sync_dir(m->to, err) : r;
}

int backup_make(const char *data, const char *config, const char *to, struct backup_report *out, struct error *err) {
    struct making m = {.data = data, .to = to, .files = json_object(), .report = out};
    *out = (struct backup_report){0};
    int r = backup_finish_restore(data, err);
    if (r >= 0) r = make_empty_folder(to, err);
    if (r == 0) r = copy_db(&m, "fleet.db", true, err);
    if (r == 0) r = copy_identity(&m, err);
    if (r == 0) r = copy_db(&m, "hosted.db", false, err);
    if (r == 0) r = copy_blobs(&m, err);
    if (r == 0) r = copy_db(&m, "catalog.db", false, err);
    if (r == 0) r = copy_db(&m, "reports.db", false, err);
    if (r == 0) r = copy_config(&m, config, err);
    if (r == 0) r = write_list(&m, err);
    if ((r == -EACCES || r == -EPERM) && !err->hint[0])
        error_hint(err,
                   "run this as root (sudo), or as the user that central runs as, into a folder that it may write");
    json_decref(m.files);
    return r;
}
