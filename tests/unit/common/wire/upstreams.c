/* What an edge hears of central's upstreams is what central said; what breaks the rules is refused. */
#include "common/wire/upstreams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void states_come_back_as_they_were(void **state) {
    (void)state;
    const struct wire_upstream_state sent[] = {
        {"docker.io", true, "", 12, 100, 76, 0},
        {"ghcr.io", false, "connect: refused", 3, -1, -1, 17},
        {"quay.io", true, "", 0, 0, 0, 0},
    };
    struct wire_upstream_state *got;
    uint8_t *bytes;
    size_t len, n;
    assert_int_equal(wire_upstreams_encode(sent, 3, &bytes, &len), 0);
    assert_int_equal(wire_upstreams_decode(bytes, len, &got, &n), 0);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(got[i].name, sent[i].name);
        assert_int_equal(got[i].reachable, sent[i].reachable);
        assert_string_equal(got[i].last_error, sent[i].last_error);
        assert_int_equal(got[i].requests, sent[i].requests);
        assert_int_equal(got[i].rate_limit, sent[i].rate_limit);
        assert_int_equal(got[i].rate_remaining, sent[i].rate_remaining);
        assert_int_equal(got[i].wait_s, sent[i].wait_s);
    }
    free(got);
    for (size_t cut = 1; cut < len; cut++) { /* a shorter one is another message or none, never a crash */
        int r = wire_upstreams_decode(bytes, cut, &got, &n);
        assert_true(r == 0 || r == ERR_INVALID || r == ERR_UNSUPPORTED);
        free(got);
    }
    free(bytes);
}

static void odd_messages_are_refused(void **state) {
    (void)state;
    struct wire_upstream_state *got;
    size_t n;
    assert_int_equal(wire_upstreams_decode("", 0, &got, &n), ERR_UNSUPPORTED);
    assert_int_equal(wire_upstreams_decode("\x08\x09", 2, &got, &n), ERR_UNSUPPORTED);
    assert_int_equal(wire_upstreams_decode("<html>", 6, &got, &n), ERR_INVALID);
    char *large = calloc(1, WIRE_MAX_UPSTREAMS + 1);
    assert_int_equal(wire_upstreams_decode(large, WIRE_MAX_UPSTREAMS + 1, &got, &n), ERR_TOO_BIG);
    free(large);
    /* a newer central's field is ignored, a limit below nothing is none */
    assert_int_equal(wire_upstreams_decode("\x08\x01\x12\x10\x0a\x01"
                                           "a\x28\x01\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xfa\x7f\x01x",
                                           24, &got, &n),
                     0);
    assert_int_equal(n, 1);
    assert_int_equal(got[0].rate_limit, -1);
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_come_back_as_they_were),
        cmocka_unit_test(odd_messages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
