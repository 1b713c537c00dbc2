/* Which edges hold which blobs: who of some sites holds one, what happens at the bounds, and rows as they are stored. */
#include "central/reports/holdings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "central/reports/held_rows.h"
#include "tests/unit/support/nth_digest.h"

static struct holdings *all;
static struct holdings_dirty dirty;

static int set_up(void **state) {
    (void)state;
    all = holdings_new(100);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    holdings_dirty_fini(&dirty);
    holdings_free(all);
    return 0;
}

static int gain(struct holder *e, uint32_t n) {
    struct digest d = nth_digest(n);
    return holdings_gain(all, e, d.bytes, 1, &dirty);
}

static void lose(struct holder *e, uint32_t n) {
    struct digest d = nth_digest(n);
    holdings_lose(all, e, d.bytes, 1, &dirty);
}

static void those_of_the_sites_that_hold_a_blob_are_named(void **state) {
    (void)state;
    struct holder *a = holdings_edge(all, "sh-1", "shanghai"), *b = holdings_edge(all, "sh-2", "shanghai");
    struct holder *c = holdings_edge(all, "su-1", "suzhou"), *far = holdings_edge(all, "bj-1", "beijing");
    const char *near[] = {"shanghai", "suzhou", "nowhere"};
    const struct holder *who[4];
    struct digest d = nth_digest(1), other = nth_digest(2), long_one = {.alg = DIGEST_SHA512};
    assert_ptr_equal(holdings_edge(all, "sh-1", "shanghai"), a);
    for (unsigned i = 0; i < 2; i++) { /* twice is once */
        assert_int_equal(gain(b, 1), 0);
        assert_int_equal(gain(c, 1), 0);
        assert_int_equal(gain(far, 1), 0);
    }
    assert_int_equal(gain(a, 2), 0);
    assert_int_equal(holdings_at_sites(all, &d, near, 3, who, 4), 2);
    assert_true(who[0] == b && who[1] == c);
    assert_int_equal(holdings_at_sites(all, &d, near, 3, who, 1), 1);
    assert_int_equal(holdings_at_sites(all, &other, near, 1, who, 4), 1);
    assert_int_equal(holdings_at_sites(all, &long_one, near, 3, who, 4), 0);
    lose(b, 1);
    lose(b, 1);
    lose(a, 77); /* nobody's */
    assert_int_equal(holdings_at_sites(all, &d, near, 1, who, 4), 0);
    assert_int_equal(holdings_count(all, c), 1);
    assert_int_equal(holdings_count(all, b), 0);
}

static void one_edge_gets_half_of_the_room_and_what_nobody_holds_gives_its_place(void **state) {
    (void)state;
    struct holder *a = holdings_edge(all, "a", "s"), *b = holdings_edge(all, "b", "s"),
                  *c = holdings_edge(all, "c", "s");
    struct holdings_stats stats;
    for (uint32_t n = 0; n < 50; n++)
        assert_int_equal(gain(a, n), 0);
    assert_int_equal(gain(a, 50), ERR_BUSY);
    assert_int_equal(gain(a, 49), 0); /* it has it */
    for (uint32_t n = 50; n < 100; n++)
        assert_int_equal(gain(b, n), 0);
    assert_int_equal(gain(c, 100), ERR_BUSY);
    assert_int_equal(gain(c, 7), 0); /* others know it */
    lose(b, 60);
    assert_int_equal(gain(c, 100), 0);
    holdings_stats(all, &stats);
    assert_int_equal(stats.blobs, 100);
    assert_true(stats.bytes > 0);
}

static void parts_come_back_as_they_were_and_others_are_refused(void **state) {
    (void)state;
    uint16_t numbers[HOLDINGS_PART], back[HOLDINGS_PART];
    uint8_t bytes[HELD_PART_BYTES];
    for (size_t n = 0; n <= HOLDINGS_PART; n += 37) {
        for (size_t i = 0; i < n; i++)
            numbers[i] = (uint16_t)(i * HOLDINGS_PART / n);
        size_t len = held_part_pack(numbers, n, bytes);
        assert_true(len <= HELD_PART_BYTES && (len == 2 * n || len == HELD_PART_BYTES));
        assert_int_equal(held_part_unpack(bytes, len, back), n);
        assert_memory_equal(back, numbers, n * sizeof(*numbers));
    }
    assert_true(held_part_unpack((const uint8_t *)"\x01\x00\x01\x00", 4, back) == SIZE_MAX); /* not in order */
    assert_true(held_part_unpack((const uint8_t *)"\x00\x10", 2, back) == SIZE_MAX);         /* beyond the part */
    assert_true(held_part_unpack((const uint8_t *)"\x00", 1, back) == SIZE_MAX);
    assert_true(held_part_unpack(bytes, HELD_PART_BYTES + 2, back) == SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(those_of_the_sites_that_hold_a_blob_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_edge_gets_half_of_the_room_and_what_nobody_holds_gives_its_place, set_up,
                                        tear_down),
        cmocka_unit_test(parts_come_back_as_they_were_and_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
