/* HOST:PORT taken apart. */
#include "common/core/host_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void names_addresses_and_ports_are_told_apart(void **state) {
    static const struct {
        const char *text, *host;
        int port;
        bool bracketed;
    } good[] = {
        {"a.example", "a.example", -1, false},
        {"a.example:5000", "a.example", 5000, false},
        {":5000", "", 5000, false},
        {"10.0.0.1:0", "10.0.0.1", 0, false},
        {"[::1]", "::1", -1, true},
        {"[2001:db8::5]:65535", "2001:db8::5", 65535, true},
        {"", "", -1, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct host_port hp;
        assert_true(host_port_parse(&hp, good[i].text));
        assert_string_equal(hp.host, good[i].host);
        assert_int_equal(hp.port, good[i].port);
        assert_int_equal(hp.bracketed, good[i].bracketed);
    }
}

static void malformed_hosts_and_ports_are_refused(void **state) {
    static const char *const bad[] = {"a:",          "a:b",  "a:65536", "a:123456", "a:1:2", "::1",
                                      "2001:db8::5", "[::1", "[::1]5",  "[::1]:",   "a:-1",  "a: 1"};
    char longest[HOST_PORT_HOST_MAX + 2];
    struct host_port hp;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (host_port_parse(&hp, bad[i])) fail_msg("taken: %s", bad[i]);
    }
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_false(host_port_parse(&hp, longest));
    longest[HOST_PORT_HOST_MAX] = '\0';
    assert_true(host_port_parse(&hp, longest));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_addresses_and_ports_are_told_apart),
        cmocka_unit_test(malformed_hosts_and_ports_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
