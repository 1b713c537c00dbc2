/* When queries are a flood, as time goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/dns/flood.h"

enum { WINDOW = DNS_FLOOD_MS, FLOOD = DNS_FLOOD_MESSAGES };

static struct dns_flood p;
static int64_t now;

static int set_up(void **state) {
    (void)state;
    p = (struct dns_flood){.began_ms = now = 1000000};
    return 0;
}

static void a_flood_is_noticed_before_its_time_is_over(void **state) {
    (void)state;
    assert_false(dns_flood_take(&p, now, FLOOD - 1));
    assert_false(p.under_way);
    assert_true(dns_flood_take(&p, now + 1, 1));
    assert_true(p.under_way);
    assert_false(dns_flood_take(&p, now + 1, 32));
}

static void the_same_number_in_twice_the_time_is_none(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++, now += WINDOW)
        assert_false(dns_flood_take(&p, now, FLOOD / 2));
    assert_false(p.under_way);
}

static void a_flood_is_over_after_a_time_with_less_than_half_of_it(void **state) {
    (void)state;
    assert_true(dns_flood_take(&p, now, FLOOD));
    assert_false(dns_flood_take(&p, now += WINDOW, FLOOD / 2)); /* what came before was a flood */
    assert_false(dns_flood_take(&p, now += WINDOW, FLOOD / 2 - 1));
    assert_true(dns_flood_take(&p, now += WINDOW, 1));
    assert_false(p.under_way);
}

static void one_query_after_a_long_time_ends_a_flood_or_the_next_does(void **state) {
    (void)state;
    assert_true(dns_flood_take(&p, now, FLOOD));
    (void)dns_flood_take(&p, now += 3600000, 1);
    (void)dns_flood_take(&p, now += 3600000, 1);
    assert_false(p.under_way);
}

#define EACH_ANEW(t) cmocka_unit_test_setup(t, set_up)
int main(void) {
    const struct CMUnitTest tests[] = {
        EACH_ANEW(a_flood_is_noticed_before_its_time_is_over),
        EACH_ANEW(the_same_number_in_twice_the_time_is_none),
        EACH_ANEW(a_flood_is_over_after_a_time_with_less_than_half_of_it),
        EACH_ANEW(one_query_after_a_long_time_ends_a_flood_or_the_next_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
