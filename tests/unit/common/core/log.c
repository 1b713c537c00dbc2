/* Lines for the journal bear its priorities, others do not. */
#include "common/core/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* The first three bytes of a warning and of an error, told to a file that JOURNAL_STREAM names with that inode. */
static void written(ino_t off, char first[2][4]) {
    FILE *file = tmpfile();
    struct stat st;
    char stream[64], line[512];
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)(st.st_ino + off));
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
    log_init(fileno(file), LOG_FORMAT_KV, LOG_LEVEL_INFO, "test");
    log_warn("a", KV_I("n", 1));
    log_error("b", KV_I("n", 2));
    rewind(file);
    for (int i = 0; i < 2; i++) {
        assert_non_null(fgets(line, sizeof(line), file));
        memcpy(first[i], line, 3);
        first[i][3] = 0;
    }
    fclose(file);
    unsetenv("JOURNAL_STREAM");
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_INFO, "test");
}

static void lines_for_the_journal_have_their_priority(void **state) {
    (void)state;
    char first[2][4];
    written(0, first);
    assert_string_equal(first[0], "<4>");
    assert_string_equal(first[1], "<3>");
}

static void a_redirected_stream_gets_no_priorities(void **state) {
    (void)state;
    char first[2][4];
    written(1, first);
    assert_string_equal(first[0], "tim");
    assert_string_equal(first[1], "tim");
}

static void what_is_printed_beside_the_log_gets_a_priority_for_the_journal_alone(void **state) {
    (void)state;
    struct stat st;
    char stream[64];
    assert_int_equal(fstat(2, &st), 0);
    assert_string_equal(log_journal_mark(2, LOG_LEVEL_ERROR), "");
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
    assert_string_equal(log_journal_mark(2, LOG_LEVEL_ERROR), "<3>");
    unsetenv("JOURNAL_STREAM");
}

/* The one line that a warning about such a value makes. */
static void line_about(const char *value, enum log_format format, char line[9000]) {
    FILE *file = tmpfile();
    assert_non_null(file);
    log_init(fileno(file), format, LOG_LEVEL_INFO, "test");
    log_warn("asked", KV_S("target", value), KV_S("agent", value), KV_I("status", 418));
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_INFO, "test");
    rewind(file);
    assert_non_null(fgets(line, 9000, file));
    fclose(file);
}

static void a_long_value_is_cut_and_hides_nothing_that_follows(void **state) {
    (void)state;
    char value[30001], line[9000];
    const char bytes[] = {'a', ' ', '\x1b', '"', '\xc3'};
    for (size_t i = 0; i < sizeof(bytes); i++) {
        memset(value, bytes[i], sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        line_about(value, LOG_FORMAT_KV, line);
        assert_non_null(strstr(line, "...\" agent=\""));
        assert_non_null(strstr(line, "...\" status=418\n"));
        line_about(value, LOG_FORMAT_JSON, line);
        assert_non_null(strstr(line, "...\",\"status\":418}\n"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_for_the_journal_have_their_priority),
        cmocka_unit_test(a_redirected_stream_gets_no_priorities),
        cmocka_unit_test(what_is_printed_beside_the_log_gets_a_priority_for_the_journal_alone),
        cmocka_unit_test(a_long_value_is_cut_and_hides_nothing_that_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
