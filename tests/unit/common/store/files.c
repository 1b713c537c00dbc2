/* The descriptor cache by itself. */
#include "common/store/files.h"
#include "tests/unit/support/nth_digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>

static void put(struct files *f, unsigned n, struct open_file **keep) {
    struct digest d = nth_digest(n);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct open_file *file = open_file_new(fd);
    files_put(f, &d, file);
    if (keep)
        *keep = file;
    else
        open_file_unref(file);
}

static bool has(struct files *f, unsigned n) {
    struct digest d = nth_digest(n);
    struct open_file *file = files_get(f, &d);
    open_file_unref(file);
    return file;
}

static void descriptors_are_bounded_and_used_ones_stay(void **state) {
    (void)state;
    struct files *f = files_new(64);
    struct open_file *used;
    struct digest d = nth_digest(0);
    put(f, 0, &used);
    assert_true(files_in_use(f, &d));
    for (unsigned n = 1; n < 1000; n++)
        put(f, n, NULL);
    unsigned held = 0;
    for (unsigned n = 0; n < 1000; n++)
        held += has(f, n);
    assert_in_range(held, 32, 64);
    assert_true(has(f, 0));
    open_file_unref(used);
    assert_false(files_in_use(f, &d));
    files_free(f);
}

static void a_dropped_descriptor_stays_open_for_who_has_it(void **state) {
    (void)state;
    struct files *f = files_new(64);
    struct open_file *used;
    struct digest d = nth_digest(1);
    put(f, 1, &used);
    files_drop(f, &d);
    files_drop(f, &d);
    assert_false(has(f, 1));
    assert_true(fcntl(open_file_fd(used), F_GETFD) >= 0);
    assert_int_equal(open_file_refs(used), 1);
    open_file_unref(used);
    files_free(f);
}

static void a_second_file_of_one_name_is_not_kept(void **state) {
    (void)state;
    struct files *f = files_new(64);
    struct open_file *first, *second;
    put(f, 1, &first);
    put(f, 1, &second);
    assert_int_equal(open_file_refs(first), 2);
    assert_int_equal(open_file_refs(second), 1);
    open_file_unref(first);
    open_file_unref(second);
    files_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_are_bounded_and_used_ones_stay),
        cmocka_unit_test(a_dropped_descriptor_stays_open_for_who_has_it),
        cmocka_unit_test(a_second_file_of_one_name_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
