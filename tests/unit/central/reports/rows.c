/* What central keeps of the edges' reports, and how many it takes of one. */
#include "central/reports/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/core/clock.h"

static struct report_rows *rows;
static struct report_row row;

static int set_up(void **state) {
    (void)state;
    clock_set_fake(1000, 1800000000);
    rows = report_rows_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    report_rows_free(rows);
    clock_set_fake(-1, 0);
    return 0;
}

static int take(const char *name, const char *site, unsigned load) {
    struct member who = {.role = MEMBER_EDGE};
    const struct wire_heartbeat beat = {.load = load};
    snprintf(who.name, sizeof(who.name), "%s", name);
    snprintf(who.site, sizeof(who.site), "%s", site);
    return report_rows_take(rows, &who, &beat, &row);
}

static void the_last_report_of_each_edge_is_kept(void **state) {
    (void)state;
    assert_false(report_rows_get(rows, "a", &row));
    assert_int_equal(take("a", "shanghai", 1), 0);
    assert_int_equal(take("b", "suzhou", 2), 0);
    clock_set_fake(2500, 1800000001);
    assert_int_equal(take("a", "shanghai", 3), 0);
    assert_true(report_rows_get(rows, "a", &row));
    assert_string_equal(row.site, "shanghai");
    assert_int_equal(row.beat.load, 3);
    assert_int_equal(row.heard_ms, 2500);
    assert_int_equal(row.count, 2);
    assert_true(report_rows_get(rows, "b", &row));
    assert_int_equal(row.heard_ms, 1000);
}

static void an_edge_that_reports_too_often_is_refused_and_no_other(void **state) {
    (void)state;
    for (unsigned i = 0; i < REPORTS_AT_ONCE; i++)
        assert_int_equal(take("a", "s", i), 0);
    assert_int_equal(take("a", "s", 99), ERR_BUSY);
    assert_int_equal(take("b", "s", 1), 0);
    assert_true(report_rows_get(rows, "a", &row));
    assert_int_equal(row.beat.load, REPORTS_AT_ONCE - 1); /* what was refused is not taken */
    clock_set_fake(1000 + 1000 / REPORTS_PER_S, 1800000000);
    assert_int_equal(take("a", "s", 50), 0);
    assert_int_equal(take("a", "s", 51), ERR_BUSY);
    clock_set_fake(1000000, 1800000999); /* a long rest earns no more than REPORTS_AT_ONCE */
    for (unsigned i = 0; i < REPORTS_AT_ONCE; i++)
        assert_int_equal(take("a", "s", i), 0);
    assert_int_equal(take("a", "s", 99), ERR_BUSY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_report_of_each_edge_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_edge_that_reports_too_often_is_refused_and_no_other, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
