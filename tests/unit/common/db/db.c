/* What all databases share. */
#include "common/db/db.h"

#include "tests/unit/common/store/fixture.h"

#include <errno.h>

#include "common/db/writer.h"

static char dir[256], path[300];

static int set_up(void **state) {
    (void)state;
    fixture_dir(dir);
    snprintf(path, sizeof(path), "%s/x.db", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    fixture_remove(dir);
    return 0;
}

static void write_text(const char *tail, const char *text) {
    char name[400];
    snprintf(name, sizeof(name), "%s%s", path, tail);
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

static bool has(const char *tail, const char *text) {
    char name[400], got[100] = "";
    snprintf(name, sizeof(name), "%s%s", path, tail);
    FILE *f = fopen(name, "r");
    if (!f) return false;
    size_t n = fread(got, 1, sizeof(got) - 1, f);
    fclose(f);
    return n == strlen(text) && memcmp(got, text, n) == 0;
}

static void a_damaged_file_goes_aside_and_its_log_is_removed(void **state) {
    (void)state;
    static const char *const tails[] = {"", "-wal", "-shm", ".damaged"};
    struct error err = {0};
    struct writer *w;
    for (size_t i = 0; i < ARRAY_LEN(tails); i++)
        write_text(tails[i], tails[i]);
    write_text("", "this is no database, this is a text that is long enough");
    assert_int_equal(db_put_aside(path, &err), 0);
    for (size_t i = 0; i < 3; i++) {
        char name[400];
        snprintf(name, sizeof(name), "%s%s", path, tails[i]);
        assert_int_equal(access(name, F_OK), -1);
    }
    assert_true(has(".damaged", "this is no database, this is a text that is long enough"));
    assert_int_equal(writer_open(&w, path, "named", "CREATE TABLE t(n)", 10, &err), 0);
    writer_close(w);
}

static void what_cannot_go_aside_is_told_with_its_name_and_nothing_is_removed(void **state) {
    (void)state;
    struct error err = {0};
    write_text("-wal", "log");
    assert_int_equal(db_put_aside(path, &err), -ENOENT);
    assert_non_null(strstr(err.msg, path));
    assert_true(has("-wal", "log"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_file_goes_aside_and_its_log_is_removed),
        TEST(what_cannot_go_aside_is_told_with_its_name_and_nothing_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
