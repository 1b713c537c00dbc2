/* The writer thread by itself. */
#include "common/store/writer.h"

#include "tests/unit/common/store/fixture.h"

#include "common/core/log.h"

static char dir[256], path[300];
static struct writer *writer;

static int setup(void **state) {
    (void)state;
    struct error err;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    fixture_dir(dir);
    snprintf(path, sizeof(path), "%s/w.db", dir);
    return writer_open(&writer, path, "CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY)", 10, &err);
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
    assert_int_equal(writer_open(&writer, path, "", 10, &err), 0);
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
    assert_int_equal(writer_open(&w, bad, "CREATE TABLE a(b)", 1, &err), ERR_CORRUPT);
    assert_true(err.msg[0]);
    assert_true(writer_open(&w, "/nonexistent/x.db", "", 1, &err) < 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(jobs_are_durable_in_order_when_told),
        T(a_lost_transaction_fails_its_jobs_and_the_next_goes_on),
        T(what_is_queued_is_written_before_closing),
        T(a_file_that_is_no_database_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
