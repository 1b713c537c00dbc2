/* Numbers of digests: each has one, the lowest that is free. */
#include "common/records/digest_numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* So many that a search through all of them each time would not end in the time that a test has. */
#define MANY 100000u

static struct digest_numbers *numbers;

static int set_up(void **state) {
    (void)state;
    numbers = digest_numbers_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    digest_numbers_free(numbers);
    return 0;
}

/* Digests that begin alike, as somebody may choose them. */
static const uint8_t *digest(uint32_t n) {
    static uint8_t d[NUMBERED_DIGEST];
    memset(d, 0, sizeof(d));
    memcpy(d + 20, &n, sizeof(n));
    return d;
}

static void each_digest_has_the_lowest_free_number(void **state) {
    (void)state;
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(digest_numbers_add(numbers, digest(i)), i);
    assert_int_equal(digest_numbers_add(numbers, digest(77)), 77);
    assert_int_equal(digest_numbers_count(numbers), MANY);
    assert_int_equal(digest_numbers_find(numbers, digest(MANY)), NO_NUMBER);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(digest_numbers_find(numbers, digest(i)), i);
        assert_memory_equal(digest_numbers_get(numbers, i), digest(i), NUMBERED_DIGEST);
    }
}

static void numbers_are_given_again(void **state) {
    (void)state;
    for (uint32_t i = 0; i < MANY; i++)
        digest_numbers_add(numbers, digest(i));
    for (uint32_t i = 0; i < MANY; i += 3)
        digest_numbers_remove(numbers, i);
    digest_numbers_remove(numbers, 0); /* once more does nothing */
    assert_int_equal(digest_numbers_count(numbers), MANY - (MANY + 2) / 3);
    assert_null(digest_numbers_get(numbers, 3));
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(digest_numbers_find(numbers, digest(i)), i % 3 ? i : NO_NUMBER);
    for (uint32_t i = 0; i < MANY; i += 3)
        assert_int_equal(digest_numbers_add(numbers, digest(MANY + i)), i);
    assert_int_equal(digest_numbers_add(numbers, digest(3 * MANY)), MANY);
}

static void a_number_can_be_given_to_a_digest_once(void **state) {
    (void)state;
    assert_true(digest_numbers_put(numbers, digest(1), 10000));
    assert_false(digest_numbers_put(numbers, digest(1), 3));
    assert_false(digest_numbers_put(numbers, digest(2), 10000));
    assert_false(digest_numbers_put(numbers, digest(2), DIGEST_NUMBERS_MAX));
    assert_int_equal(digest_numbers_add(numbers, digest(2)), 0);
    assert_true(digest_numbers_end(numbers) > 10000);
    assert_null(digest_numbers_get(numbers, 9999));
    assert_null(digest_numbers_get(numbers, NO_NUMBER));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_digest_has_the_lowest_free_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_are_given_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_number_can_be_given_to_a_digest_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
