/* What the backup has is copied beside what is there and then renamed into place. The folder that it waits in has a name
 * for each step, so that a restore that is cut can go on from there:
 *
 *   restoring ── all is copied ──▶ restore-whole ── what was there is aside ──▶ restore-clear ── all is in place ──▶ gone
 *
 * Until the first arrow nothing of what is there is touched, and the copy is worth nothing. After it the restore is
 * finished by whoever comes next, central's start among them: central would take half of the records for all, and
 * without the identity it would make itself a new fleet. Thread: main of a command. */
#include "central/backup/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "central/backup/copy.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/json.h"
#include "common/db/db.h"

#define LIST_MAX ((size_t)MiB)

#define COPYING "restoring"
#define WHOLE "restore-whole"
#define CLEAR "restore-clear"

struct restoring {
    const char *from, *data;
    char *beside; /* where files are copied to */
    struct backup_report *report;
};

static char *join(const char *dir, const char *name) {
    return xasprintf("%s/%s", dir, name);
}

static const char *const parts[] = {"identity", "fleet.db", "hosted.db", "catalog.db", "reports.db"};
/* Files beside the databases that are replaced. They belong to the old databases. */
static const char *const tails[] = {"", "-journal", "-wal", "-shm"};

/* --- is it whole? --- */

static bool is_name(const char *name) {
    return name[0] != '/' && !strstr(name, "..");
}

static int check_file(const char *from, const char *name, const json_t *facts, struct error *err) {
    char hex[COPY_HEX_MAX];
    int64_t size;
    if (!is_name(name)) return error_set(err, ERR_CORRUPT, "the backup names a file outside of it");
    _cleanup_(freep) char *path = join(from, name);
    int r = copy_hash(path, hex, &size, err);
    if (r < 0) return r;
    return strcmp(hex, json_text(facts, "sha256", "")) == 0
               ? 0
               : error_set(err, ERR_CORRUPT, "%s is not as it was written: its SHA-256 is another", path);
}

static int check_list(const char *from, const json_t *doc, int64_t *made_at, struct error *err) {
    const char *name;
    json_t *facts, *files = json_object_get(doc, "files");
    if (strcmp(json_text(doc, "kind", ""), "entrepot-central backup") != 0 || !json_object_get(files, "fleet.db"))
        return error_set(err, ERR_INVALID, "%s is no backup of a central", from);
    if (json_int(doc, "version", 0) != BACKUP_VERSION)
        return error_set(err, ERR_UNSUPPORTED, "%s was made by another version: restore it with that one", from);
    *made_at = json_int(doc, "made_at", 0);
    json_object_foreach(files, name, facts) {
        int r = check_file(from, name, facts, err);
        if (r < 0) return r;
    }
    return 0;
}

static int check_backup(const char *from, int64_t *made_at, struct error *err) {
    _cleanup_(freep) char *path = join(from, BACKUP_FILE), *text = NULL;
    size_t len;
    struct json_doc doc;
    int r = file_read_all(path, LIST_MAX, &text, &len, err);
    if (r == -ENOENT) {
        error_set(err, ERR_NOT_FOUND, "%s has no " BACKUP_FILE ": it is no backup, or one that was cut", from);
        error_hint(err, "give the folder that `entrepot-central backup` was given");
        return ERR_NOT_FOUND;
    }
    if (r < 0) return r;
    r = json_open(&doc, text, len, 0);
    if (r < 0) return error_set(err, ERR_CORRUPT, "%s is damaged", path);
    r = check_list(from, doc.root, made_at, err);
    json_close(&doc);
    return r;
}

/* --- what is there --- */

/* No central runs on the folder, and none starts meanwhile. The caller closes the descriptor. */
static int lock_data(const char *data, int *fd, struct error *err) {
    _cleanup_(freep) char *path = join(data, "lock");
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) return error_errno(err, "opening %s", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return dir_give_away(path, data, err);
    close(*fd);
    *fd = -1;
    error_set(err, ERR_BUSY, "a central runs on %s", data);
    error_hint(err, "stop it first");
    return ERR_BUSY;
}

static bool is_there(const char *data, const char *name) {
    _cleanup_(freep) char *path = join(data, name);
    return access(path, F_OK) == 0;
}

static int move_aside(const char *data, const char *aside, const char *name, struct error *err) {
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        _cleanup_(freep) char *from = xasprintf("%s/%s%s", data, name, tails[i]),
                              *to = xasprintf("%s/%s%s", aside, name, tails[i]);
        if (rename(from, to) < 0 && errno != ENOENT) return error_errno(err, "moving %s aside", from);
    }
    return 0;
}

static char *aside_name(const char *data) {
    char stamp[32];
    struct tm tm;
    time_t now = (time_t)clock_wall_s();
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
    return xasprintf("%s/before-restore-%s", data, stamp);
}

static bool has_records(const char *data) {
    bool has = false;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        has = has || is_there(data, parts[i]);
    return has;
}

static int move_all_aside(const char *data, struct error *err) {
    _cleanup_(freep) char *aside = aside_name(data);
    int r = has_records(data) ? dir_make_all(aside, 0700, err) : 0;
    for (size_t i = 0; i < ARRAY_LEN(parts) && r == 0; i++)
        r = move_aside(data, aside, parts[i], err);
    return r;
}

/* --- putting into place --- */

static int step_to(const char *data, const char *from, const char *to, struct error *err) {
    _cleanup_(freep) char *before = join(data, from), *after = join(data, to);
    if (rename(before, after) < 0) return error_errno(err, "renaming %s to %s", before, after);
    return copy_sync_dir(data, err);
}

static int put_into_place(const char *data, struct error *err) {
    _cleanup_(freep) char *clear = join(data, CLEAR);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        _cleanup_(freep) char *from = join(clear, parts[i]), *to = join(data, parts[i]);
        if (rename(from, to) < 0 && errno != ENOENT) return error_errno(err, "renaming %s to %s", from, to);
    }
    int r = copy_sync_dir(data, err);
    return r == 0 && rmdir(clear) < 0 ? error_errno(err, "removing %s", clear) : r;
}

/* Goes on from whatever step was reached. */
static int finish(const char *data, struct error *err) {
    int r = 0;
    if (is_there(data, WHOLE)) {
        r = move_all_aside(data, err);
        if (r == 0) r = step_to(data, WHOLE, CLEAR, err);
    }
    return r == 0 && is_there(data, CLEAR) ? put_into_place(data, err) : r;
}

static bool was_cut(const char *data) {
    return is_there(data, WHOLE) || is_there(data, CLEAR);
}

int backup_finish_restore(const char *data, struct error *err) {
    int lock = -1;
    if (!was_cut(data)) return 0;
    int r = lock_data(data, &lock, err);
    if (r == 0) r = finish(data, err);
    if (lock >= 0) close(lock);
    return r < 0 ? error_wrap(err, "finishing the restore that was cut") : 1;
}

/* --- copying --- */

static int restore_blob(const char *name, void *arg, struct error *err) {
    struct restoring *r = arg;
    struct stat st;
    _cleanup_(freep) char *from = join(r->from, name), *to = join(r->data, name), *dir = xstrdup(to);
    if (access(to, F_OK) == 0) return 0; /* the same blob: its digest names it */
    if (stat(from, &st) < 0 && errno == ENOENT) {
        r->report->missing++;
        return 0;
    }
    *strrchr(dir, '/') = '\0';
    _cleanup_(freep) char *part = xasprintf("%s/blob", r->beside);
    int code = dir_make_all(dir, 0700, err);
    if (code == 0 && unlink(part) < 0 && errno != ENOENT) code = error_errno(err, "removing %s", part);
    if (code == 0) code = copy_file(from, part, 0444, false, err);
    if (code == 0 && rename(part, to) < 0) code = error_errno(err, "renaming %s to %s", part, to);
    r->report->blobs++;
    r->report->bytes += st.st_size;
    return code;
}

static int change(const char *path, const char *sql, struct error *err) {
    sqlite3 *db = NULL;
    int r = db_open(&db, path, SQLITE_OPEN_READWRITE, err);
    if (r == 0 && sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) r = db_error(db, err, "changing the copy");
    sqlite3_close(db);
    return r < 0 ? error_wrap(err, "%s", path) : 0;
}

/* An invite may have been used since the backup, so none is good any more. Without a place the catalogue begins a new
 * epoch: no replica takes this state for a newer one of the old log. */
static int adapt(struct restoring *r, struct error *err) {
    char ends[160];
    _cleanup_(freep) char *fleet = join(r->beside, "fleet.db"), *catalog = join(r->beside, "catalog.db");
    snprintf(ends, sizeof(ends), "UPDATE invites SET expires_at = %lld WHERE expires_at > %lld",
             (long long)clock_wall_s() - 1, (long long)clock_wall_s() - 1);
    int code = change(fleet, ends, err);
    if (code == 0 && access(catalog, F_OK) == 0) code = change(catalog, "DELETE FROM place", err);
    return code;
}

static int copy_identity(struct restoring *r, struct error *err) {
    static const char *const files[] = {"root.pem",      "root.key.pem",       "standby.pem",     "standby.key.pem",
                                        "signer.pem",    "next.pem",           "next-signer.pem", "root.key.pem.next",
                                        "retired.pem",   "retired-signer.pem", "retired.until",   "cross.pem",
                                        "next-cross.pem"};
    _cleanup_(freep) char *dir = join(r->beside, "identity");
    int code = dir_make_all(dir, 0700, err);
    for (size_t i = 0; i < ARRAY_LEN(files) && code == 0; i++) {
        _cleanup_(freep) char *name = join("identity", files[i]), *from = join(r->from, name),
                              *to = join(r->beside, name);
        if (access(from, F_OK) == 0) code = copy_file(from, to, 0600, false, err);
    }
    return code == 0 ? copy_sync_dir(dir, err) : code;
}

static int copy_beside(struct restoring *r, struct error *err) {
    int code = copy_identity(r, err);
    for (size_t i = 1; i < ARRAY_LEN(parts) && code == 0; i++) {
        _cleanup_(freep) char *from = join(r->from, parts[i]), *to = join(r->beside, parts[i]);
        if (access(from, F_OK) == 0) code = copy_file(from, to, 0600, false, err);
    }
    if (code == 0) code = adapt(r, err);
    return code == 0 ? copy_sync_dir(r->beside, err) : code;
}

static int restore_all(struct restoring *r, struct error *err) {
    _cleanup_(freep) char *hosted = join(r->from, "hosted.db"), *blobs = join(r->data, "blobs"),
                          *blob = join(r->beside, "blob");
    int code = dir_make_all(r->beside, 0700, err);
    if (code == 0 && access(hosted, F_OK) == 0) code = backup_each_blob(hosted, restore_blob, r, err);
    if (code == 0) code = copy_beside(r, err);
    if (code == 0) code = dir_give_away(r->beside, r->data, err);
    if (code == 0 && access(blobs, F_OK) == 0) code = dir_give_away(blobs, r->data, err);
    unlink(blob);
    if (code == 0) code = step_to(r->data, COPYING, WHOLE, err);
    return code == 0 ? finish(r->data, err) : code;
}

/* Of a restore that was cut. */
static int remove_rest(const char *beside, struct error *err) {
    static const char *const more[] = {"blob", "fleet.db-journal", "hosted.db-journal", "catalog.db-journal"};
    if (access(beside, F_OK) < 0) return 0;
    for (size_t i = 1; i < ARRAY_LEN(parts); i++) {
        _cleanup_(freep) char *path = join(beside, parts[i]);
        unlink(path);
    }
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        _cleanup_(freep) char *path = join(beside, more[i]);
        unlink(path);
    }
    _cleanup_(freep) char *identity = join(beside, "identity");
    return dir_remove_files(identity, err);
}

/* Says so before anything is copied. */
static int check_place(const struct restore_order *o, struct error *err) {
    bool cut = was_cut(o->data);
    int r = cut ? finish(o->data, err) : 0;
    if (r < 0 || o->replace || !has_records(o->data)) return r;
    if (cut)
        error_set(err, ERR_BUSY, "a restore into %s was cut: it is finished now", o->data);
    else
        error_set(err, ERR_BUSY, "%s has the records of a central already", o->data);
    error_hint(err, "--replace moves them aside, into a folder before-restore-… there");
    return ERR_BUSY;
}

int backup_restore(const char *from, const struct restore_order *o, struct backup_report *out, int64_t *made_at,
                   struct error *err) {
    struct restoring r = {.from = from, .data = o->data, .report = out, .beside = join(o->data, COPYING)};
    int lock = -1;
    *out = (struct backup_report){0};
    int code = check_backup(from, made_at, err);
    if (code == 0) code = dir_make_all(o->data, 0700, err);
    if (code == 0) code = lock_data(o->data, &lock, err);
    if (code == 0) code = remove_rest(r.beside, err);
    if (code == 0) code = check_place(o, err);
    if (code == 0) code = restore_all(&r, err);
    if (lock >= 0) close(lock);
    free(r.beside);
    return code;
}
