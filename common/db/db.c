/* SQLite connections, and values that all databases store alike. Thread: that of the connection. */
#include "common/db/db.h"

#include "common/core/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int db_bind_digest(sqlite3_stmt *st, int at, const struct digest *d) {
    return sqlite3_bind_blob(st, at, d, db_digest_len(d), SQLITE_TRANSIENT);
}

bool db_column_digest(sqlite3_stmt *st, int column, struct digest *d) {
    const uint8_t *p = sqlite3_column_blob(st, column);
    int n = sqlite3_column_bytes(st, column);
    return p && n > 1 && digest_from_bytes(d, p[0], p + 1, (size_t)n - 1) == 0;
}

int db_error_code(sqlite3 *db) {
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: {
        int sys = sqlite3_system_errno(db);
        if (sys == ENOSPC || sys == EDQUOT || sys == EFBIG) return ERR_NO_SPACE;
        return sys > 0 && sys < 1000 ? -sys : -EIO;
    }
    default:
        return ERR_INTERNAL;
    }
}

int db_error(sqlite3 *db, struct error *err, const char *doing) {
    int code = db_error_code(db);
    if (code == 0) code = ERR_INTERNAL;
    error_set(err, code, "%s: %s", doing, sqlite3_errmsg(db));
    if (code == ERR_NO_SPACE) error_hint(err, "free some space on that disk, or point `data` at another");
    if (code == -EROFS || code == -EACCES)
        error_hint(err, "check the folder's owner and that the disk is not read-only");
    return code;
}

int db_open(sqlite3 **out, const char *path, int flags, struct error *err) {
    int rc = sqlite3_open_v2(path, out, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(*out, 1);
        sqlite3_busy_timeout(*out, 10000);
        return 0;
    }
    int code = *out ? db_error(*out, err, "opening the index") : error_set(err, -ENOMEM, "opening the index");
    sqlite3_close(*out);
    *out = NULL;
    return code;
}

int db_put_aside(const char *path, struct error *err) {
    static const char *const logs[] = {"-wal", "-shm"};
    _cleanup_(freep) char *aside = xasprintf("%s.damaged", path);
    if (rename(path, aside) < 0) return error_errno(err, "moving the damaged file %s aside", path);
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        _cleanup_(freep) char *log = xasprintf("%s%s", path, logs[i]);
        if (unlink(log) < 0 && errno != ENOENT) return error_errno(err, "removing %s", log);
    }
    return 0;
}

void db_keep_log(sqlite3 *db) {
    int keep = 1;
    sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
}

sqlite3_stmt *db_prepared(sqlite3 *db, sqlite3_stmt **st, const char *sql) {
    if (!*st && sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK) *st = NULL;
    return *st;
}

void db_reset(sqlite3_stmt *st) {
    if (!st) return;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

int db_run(sqlite3_stmt *st) {
    int rc = st ? sqlite3_step(st) : SQLITE_MISUSE;
    db_reset(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}
