/* The writer thread by itself. */
#include "common/db/writer.h"

#include "tests/unit/common/store/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>

#include "common/core/log.h"

static char dir[256], path[300];
static struct writer *writer;

static int setup(void **state) {
    (void)state;
    struct error err;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    fixture_dir(dir);
    snprintf(path, sizeof(path), "%s/w.db", dir);
    return writer_open(&writer, path, "named", "CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY)", 10, &err);
}

static int teardown(void **state) {
    (void)state;
    writer_close(writer);
    fixture_remove(dir);
    return 0;
}

struct job {
    struct writer_job job;
    const char *sql;
    int code;
    unsigned order;
};
static unsigned finished;

static void run(struct writer_job *job, sqlite3 *db) {
    struct job *j = container_of(job, struct job, job);
    if (j->sql) sqlite3_exec(db, j->sql, NULL, NULL, NULL);
}

static void after(struct writer_job *job, int code) {
    struct job *j = container_of(job, struct job, job);
    j->code = code;
    j->order = ++finished;
}

static int64_t count(void) {
    sqlite3 *db;
    sqlite3_stmt *st;
    struct error err;
    assert_int_equal(writer_reader(writer, &db, &err), 0);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void jobs_are_durable_in_order_when_told(void **state) {
    (void)state;
    static struct job jobs[100];
    finished = 0;
    for (unsigned i = 0; i < 100; i++) {
        jobs[i] =
            (struct job){.job = {.run = run, .after_commit = after}, .sql = "INSERT INTO t VALUES(NULL)", .code = 1};
        writer_submit(writer, &jobs[i].job);
    }
    writer_flush(writer);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(jobs[i].code, 0);
        assert_int_equal(jobs[i].order, i + 1);
    }
    assert_int_equal(count(), 100);
}

static void a_lost_transaction_fails_its_jobs_and_the_next_goes_on(void **state) {
    (void)state;
    struct job lost = {.job = {.run = run, .after_commit = after}, .sql = "INSERT INTO t VALUES(1); ROLLBACK"};
    struct job next = {.job = {.run = run, .after_commit = after}, .sql = "INSERT INTO t VALUES(2)"};
    writer_submit(writer, &lost.job);
    writer_flush(writer);
    writer_submit(writer, &next.job);
    writer_flush(writer);
    assert_true(lost.code < 0);
    assert_int_equal(next.code, 0);
    assert_int_equal(count(), 1);
}

static void what_is_queued_is_written_before_closing(void **state) {
    (void)state;
    static struct job jobs[50];
    struct error err;
    for (unsigned i = 0; i < 50; i++) {
        jobs[i] = (struct job){.job = {.run = run}, .sql = "INSERT INTO t VALUES(NULL)"};
        writer_submit(writer, &jobs[i].job);
    }
    writer_close(writer);
    assert_int_equal(writer_open(&writer, path, "named", "", 10, &err), 0);
    assert_int_equal(count(), 50);
}

static void a_file_that_is_no_database_is_an_error(void **state) {
    (void)state;
    struct writer *w;
    struct error err = {0};
    char bad[300];
    snprintf(bad, sizeof(bad), "%s/bad.db", dir);
    FILE *f = fopen(bad, "w");
    for (int i = 0; i < 5000; i++)
        fputc('x', f);
    fclose(f);
    assert_int_equal(writer_open(&w, bad, "w", "CREATE TABLE a(b)", 1, &err), ERR_CORRUPT);
    assert_true(err.msg[0]);
    assert_true(writer_open(&w, "/nonexistent/x.db", "w", "", 1, &err) < 0);
}

static void the_thread_has_the_name_it_was_given(void **state) {
    (void)state;
    char task[300], name[32];
    bool found = false;
    writer_flush(writer); /* it is there */
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *e; (e = readdir(tasks));) {
        snprintf(task, sizeof(task), "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(task, "r");
        if (!f) continue;
        found = found || (fgets(name, sizeof(name), f) && strcmp(name, "named\n") == 0);
        fclose(f);
    }
    closedir(tasks);
    assert_true(found);
}

/* --- a power cut: of the file and its log, what had been synced --- */

static sqlite3_vfs *disk, cut;
static sqlite3_io_methods file_methods, log_methods;
static int (*disk_sync)(sqlite3_file *, int);

static void keep_copy(const char *suffix) {
    char cmd[700];
    snprintf(cmd, sizeof(cmd), "cp '%s%s' '%s/cut.db%s'", path, suffix, dir, suffix);
    assert_int_equal(system(cmd), 0);
}

static int sync_file(sqlite3_file *f, int flags) {
    int rc = disk_sync(f, flags);
    keep_copy(f->pMethods == &log_methods ? "-wal" : "");
    return rc;
}

static void watch(sqlite3_file *f, sqlite3_io_methods *methods) {
    *methods = *f->pMethods;
    disk_sync = methods->xSync;
    methods->xSync = sync_file;
    f->pMethods = methods;
}

static int open_watched(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out) {
    (void)vfs;
    int rc = disk->xOpen(disk, name, f, flags, out);
    bool ours = rc == SQLITE_OK && name && strncmp(name, path, strlen(path)) == 0 && (flags & SQLITE_OPEN_READWRITE);
    if (ours && (flags & SQLITE_OPEN_MAIN_DB)) watch(f, &file_methods);
    if (ours && (flags & SQLITE_OPEN_WAL)) watch(f, &log_methods);
    return rc;
}

static int64_t rows_after_a_cut(void) {
    char cmd[1200], seen[300];
    snprintf(seen, sizeof(seen), "%s/seen.db", dir);
    snprintf(cmd, sizeof(cmd),
             "cd '%s' && rm -f seen.db* && cp cut.db seen.db && { test ! -e cut.db-wal || cp cut.db-wal seen.db-wal; }",
             dir);
    assert_int_equal(system(cmd), 0);
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(seen, &db), SQLITE_OK);
    int64_t n = -1; /* not even the table */
    if (sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static int setup_watched(void **state) {
    disk = sqlite3_vfs_find(NULL);
    cut = *disk;
    cut.zName = "cut";
    cut.xOpen = open_watched;
    return sqlite3_vfs_register(&cut, 1) == SQLITE_OK ? setup(state) : -1;
}

static int teardown_watched(void **state) {
    int r = teardown(state);
    sqlite3_vfs_unregister(&cut);
    sqlite3_vfs_register(disk, 1);
    return r;
}

static void synced_jobs_outlive_a_power_cut(void **state) {
    (void)state;
    struct job jobs[3];
    for (unsigned i = 0; i < 3; i++)
        jobs[i] = (struct job){.job = {.run = run, .after_commit = after}, .sql = "INSERT INTO t VALUES(NULL)"};
    writer_submit(writer, &jobs[0].job);
    writer_flush(writer);
    assert_int_equal(rows_after_a_cut(), -1);
    assert_int_equal(writer_sync(writer), 0);
    assert_int_equal(rows_after_a_cut(), 1);
    writer_submit(writer, &jobs[1].job);
    writer_flush(writer);
    assert_int_equal(rows_after_a_cut(), 1);
    jobs[2].job.synced = true;
    writer_submit(writer, &jobs[2].job);
    writer_flush(writer);
    assert_int_equal(jobs[2].code, 0);
    assert_int_equal(rows_after_a_cut(), 3);
}

/* --- a disk that fails for a while --- */

static atomic_bool fails;
static int (*disk_write)(sqlite3_file *, const void *, int, sqlite3_int64);

static int write_or_fail(sqlite3_file *f, const void *data, int len, sqlite3_int64 at) {
    return atomic_load(&fails) ? SQLITE_IOERR_WRITE : disk_write(f, data, len, at);
}

static int open_failing(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out) {
    (void)vfs;
    int rc = disk->xOpen(disk, name, f, flags, out);
    if (rc != SQLITE_OK || !(flags & SQLITE_OPEN_WAL)) return rc;
    log_methods = *f->pMethods;
    disk_write = log_methods.xWrite;
    log_methods.xWrite = write_or_fail;
    f->pMethods = &log_methods;
    return rc;
}

static int setup_failing(void **state) {
    atomic_store(&fails, false);
    disk = sqlite3_vfs_find(NULL);
    cut = *disk;
    cut.zName = "cut";
    cut.xOpen = open_failing;
    return sqlite3_vfs_register(&cut, 1) == SQLITE_OK ? setup(state) : -1;
}

static void jobs_that_persist_wait_for_a_disk_that_fails(void **state) {
    (void)state;
    struct job told = {.job = {.run = run, .after_commit = after}, .sql = "INSERT INTO t VALUES(1)"};
    struct job waits = {
        .job = {.run = run, .after_commit = after, .persists = true}, .sql = "INSERT INTO t VALUES(2)", .code = 1};
    finished = 0;
    atomic_store(&fails, true);
    writer_submit(writer, &told.job);
    writer_submit(writer, &waits.job);
    writer_flush(writer);
    assert_int_equal(told.code, -EIO);
    assert_int_equal(waits.code, 1);
    assert_int_equal(writer_refusal(writer), -EIO);
    assert_int_equal(writer_sync(writer), -EIO); /* what was submitted before is not safe */
    atomic_store(&fails, false);
    while (writer_refusal(writer) != 0)
        writer_flush(writer);
    assert_int_equal(waits.code, 0);
    assert_int_equal(count(), 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(jobs_are_durable_in_order_when_told),
        T(a_lost_transaction_fails_its_jobs_and_the_next_goes_on),
        T(what_is_queued_is_written_before_closing),
        T(a_file_that_is_no_database_is_an_error),
        T(the_thread_has_the_name_it_was_given),
        cmocka_unit_test_setup_teardown(synced_jobs_outlive_a_power_cut, setup_watched, teardown_watched),
        cmocka_unit_test_setup_teardown(jobs_that_persist_wait_for_a_disk_that_fails, setup_failing, teardown_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
