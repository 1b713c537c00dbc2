/* Views of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/core/file_view.h"

#define LEN ((size_t)(256 * KiB))

static char content[LEN];

static int file_of_all(void) {
    FILE *tmp = tmpfile();
    assert_non_null(tmp);
    int fd = dup(fileno(tmp));
    fclose(tmp);
    assert_int_equal(pwrite(fd, content, LEN, 0), LEN);
    return fd;
}

static int set_up(void **state) {
    (void)state;
    for (size_t i = 0; i < LEN; i++)
        content[i] = (char)(1 + i % 251);
    return 0;
}

static void a_view_shows_its_bytes_and_no_others(void **state) {
    (void)state;
    _cleanup_(closep) int fd = file_of_all();
    struct file_view v = {0};
    const int64_t from = 64 * KiB;
    assert_null(file_view_at(&v, 0, 0));
    assert_true(file_view_open(&v, fd, from, LEN));
    assert_null(file_view_at(&v, from - 1, 1));
    assert_null(file_view_at(&v, from, LEN + 1));
    assert_null(file_view_at(&v, from + (int64_t)LEN + 1, 0));
    const char *bytes = file_view_at(&v, from + 10, LEN - (size_t)from - 10);
    assert_memory_equal(bytes, content + from + 10, LEN - (size_t)from - 10);
    assert_false(file_view_is_broken(&v));
    file_view_close(&v);
    file_view_close(&v);
    assert_null(file_view_at(&v, from, 1));
}

static void bytes_written_later_are_seen(void **state) {
    (void)state;
    _cleanup_(closep) int fd = file_of_all();
    struct file_view v = {0};
    assert_true(file_view_open(&v, fd, 0, 2 * LEN));
    assert_int_equal(pwrite(fd, content, LEN, (off_t)LEN), LEN);
    assert_memory_equal(file_view_at(&v, (int64_t)LEN, LEN), content, LEN);
    assert_false(file_view_is_broken(&v));
    file_view_close(&v);
}

static void check_that_a_cut_is_told(void) {
    _cleanup_(closep) int fd = file_of_all();
    struct file_view v = {0};
    const size_t left = 64 * KiB;
    char copy[LEN], zeros[LEN] = {0};
    assert_true(file_view_open(&v, fd, 0, LEN));
    assert_int_equal(ftruncate(fd, (off_t)left), 0);
    memcpy(copy, file_view_at(&v, 0, left), left);
    assert_memory_equal(copy, content, left);
    assert_false(file_view_is_broken(&v));
    memcpy(copy, file_view_at(&v, (int64_t)left, LEN - left), LEN - left);
    assert_true(file_view_is_broken(&v));
    assert_memory_equal(copy, zeros, LEN - left);
    file_view_close(&v);
    assert_true(file_view_open(&v, fd, 0, left));
    assert_false(file_view_is_broken(&v));
    file_view_close(&v);
}

static void a_file_that_is_cut_under_a_view_breaks_the_view_only(void **state) {
    (void)state;
    check_that_a_cut_is_told();
    check_that_a_cut_is_told();
}

static void *cut_often(void *arg) {
    (void)arg;
    for (int i = 0; i < 200; i++)
        check_that_a_cut_is_told();
    return NULL;
}

static void threads_do_not_see_each_others_cuts(void **state) {
    (void)state;
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, cut_often, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

static void what_cannot_be_mapped_is_refused(void **state) {
    (void)state;
    int ends[2];
    struct file_view v = {0};
    assert_int_equal(pipe(ends), 0);
    assert_false(file_view_open(&v, ends[0], 0, LEN));
    assert_null(file_view_at(&v, 0, 1));
    close(ends[0]);
    close(ends[1]);
}

/* How a child ends that gets SIGBUS for no view. */
static int ended_by(void (*cause)(void)) {
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, SIG_DFL); /* a sanitizer has a handler of its own */
        _cleanup_(closep) int fd = file_of_all();
        struct file_view v = {0};
        if (!file_view_open(&v, fd, 0, LEN)) _exit(1);
        cause();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void send_bus_error(void) {
    raise(SIGBUS);
}

static void other_bus_errors_end_the_process_as_ever(void **state) {
    (void)state;
    assert_int_equal(ended_by(send_bus_error), SIGBUS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_bus_errors_end_the_process_as_ever), /* before this process has opened a view */
        cmocka_unit_test(a_view_shows_its_bytes_and_no_others),
        cmocka_unit_test(bytes_written_later_are_seen),
        cmocka_unit_test(a_file_that_is_cut_under_a_view_breaks_the_view_only),
        cmocka_unit_test(threads_do_not_see_each_others_cuts),
        cmocka_unit_test(what_cannot_be_mapped_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
