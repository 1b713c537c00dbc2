/* Files that are written whole or not at all, and what a killed writer leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/core/clock.h"
#include "common/core/file.h"
#include "tests/unit/support/folder.h"

static char dir[64];

static int set_up(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/entrepot-file-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return folder_remove(dir);
}

static bool is_there(const char *name) {
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void put(const char *name, int64_t age_s) {
    char path[200];
    struct timespec times[2] = {{.tv_sec = clock_wall_s() - age_s}, {.tv_sec = clock_wall_s() - age_s}};
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(file_write_atomic(path, 0600, "x", 1, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void what_a_killed_writer_left_is_removed_once_it_is_old(void **state) {
    (void)state;
    static const char *const stay[] = {"edge.pem", "edge.pem.backup", "edge.pem.tmp", "k9XbQ2.tmp", "edge.pem.k9XbQ2"};
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        put(stay[i], 1000);
    put("edge.pem.k9XbQ2.tmp", 1000);
    put("edge.pem.Young1.tmp", 10);
    dir_remove_unfinished(dir);
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        assert_true(is_there(stay[i]));
    assert_false(is_there("edge.pem.k9XbQ2.tmp"));
    assert_true(is_there("edge.pem.Young1.tmp")); /* another process may be writing it */
    dir_remove_unfinished("/nowhere");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_killed_writer_left_is_removed_once_it_is_old, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
