/* How long an edge waits for central, as the road has lately been. */
#include "edge/link/uplink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct uplink *uplink;

static int set_up(void **state) {
    (void)state;
    uplink = uplink_new("http://127.0.0.1:1", NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    uplink_free(uplink);
    return 0;
}

/* What a call that may take so long to connect is given. */
static int64_t connect_ms(int64_t ms) {
    struct http_call_spec spec = {.connect_ms = ms};
    uplink_secure(uplink, &spec);
    return spec.connect_ms;
}

static void a_short_road_adds_next_to_nothing(void **state) {
    (void)state;
    assert_int_equal(connect_ms(2000), 2000);
    uplink_took(uplink, 1);
    assert_true(connect_ms(2000) <= 2004);
}

static void a_long_road_adds_its_round_trips(void **state) {
    (void)state;
    uplink_took(uplink, 600);
    uplink_took(uplink, 20); /* one that was quick proves nothing */
    assert_int_equal(connect_ms(2000), 4400);
    assert_int_equal(connect_ms(0), 0); /* which means the default */
}

static void what_is_added_is_bounded(void **state) {
    (void)state;
    uplink_took(uplink, 60000);
    assert_int_equal(connect_ms(2000), 14000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_short_road_adds_next_to_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_road_adds_its_round_trips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_added_is_bounded, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
