/* Open files and the contents of small ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "common/core/open_file.h"

static struct open_file *file_of(size_t len) {
    FILE *tmp = tmpfile();
    assert_non_null(tmp);
    for (size_t i = 0; i < len; i++)
        assert_int_not_equal(fputc((int)(i % 251), tmp), EOF);
    assert_int_equal(fflush(tmp), 0);
    struct open_file *f = open_file_new(dup(fileno(tmp)));
    fclose(tmp);
    return f;
}

static void kept_content_survives_what_happens_to_the_file(void **state) {
    (void)state;
    struct open_file *f = file_of(1000);
    size_t len;
    assert_null(open_file_content(f, &len));
    assert_int_equal(open_file_keep(f, 1000, false), 0);
    assert_int_equal(ftruncate(open_file_fd(f), 10), 0);
    const char *content = open_file_content(f, &len);
    assert_int_equal(len, 1000);
    for (size_t i = 0; i < len; i++)
        assert_int_equal((unsigned char)content[i], i % 251);
    open_file_unref(f);
}

static void content_in_the_page_cache_is_kept_without_waiting(void **state) {
    (void)state;
    struct open_file *f = file_of(5000);
    assert_int_equal(open_file_keep(f, 5000, true), 0);
    open_file_unref(f);
}

static void large_short_and_empty_files_are_not_kept(void **state) {
    (void)state;
    size_t len;
    struct open_file *f = file_of(OPEN_FILE_CONTENT_MAX + 1);
    assert_int_equal(open_file_keep(f, OPEN_FILE_CONTENT_MAX + 1, false), -EFBIG);
    assert_int_equal(open_file_keep(f, 0, false), -EFBIG);
    assert_null(open_file_content(f, &len));
    open_file_unref(f);
    f = file_of(100);
    assert_int_equal(open_file_keep(f, 101, false), -EIO);
    assert_null(open_file_content(f, &len));
    open_file_unref(f);
}

static void all_contents_together_are_bounded(void **state) {
    (void)state;
    enum { N = OPEN_FILE_CONTENTS_MAX / OPEN_FILE_CONTENT_MAX };
    static struct open_file *all[N + 1];
    struct rlimit lim;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &lim), 0);
    lim.rlim_cur = lim.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lim), 0);
    FILE *tmp = tmpfile();
    assert_non_null(tmp);
    assert_int_equal(ftruncate(fileno(tmp), OPEN_FILE_CONTENT_MAX), 0);
    for (size_t i = 0; i <= N; i++)
        all[i] = open_file_new(dup(fileno(tmp)));
    fclose(tmp);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(open_file_keep(all[i], OPEN_FILE_CONTENT_MAX, false), 0);
    assert_int_equal(open_file_keep(all[N], OPEN_FILE_CONTENT_MAX, false), -ENOMEM);
    open_file_unref(all[0]);
    assert_int_equal(open_file_keep(all[N], OPEN_FILE_CONTENT_MAX, false), 0);
    for (size_t i = 1; i <= N; i++)
        open_file_unref(all[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_content_survives_what_happens_to_the_file),
        cmocka_unit_test(content_in_the_page_cache_is_kept_without_waiting),
        cmocka_unit_test(large_short_and_empty_files_are_not_kept),
        cmocka_unit_test(all_contents_together_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
