/* Which proxy the environment names. */
#include "common/http/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

static void proxy_rules_follow_the_environment(void **state) {
    (void)state;
    static const struct {
        const char *url, *no_proxy;
        bool proxied;
    } cases[] = {
        {"http://example.com/", "", true},
        {"http://example.com/", "*", false},
        {"http://example.com/", "example.com", false},
        {"http://a.example.com/", "example.com", false},
        {"http://a.example.com/", ".example.com", false},
        {"http://badexample.com/", "example.com", true},
        {"http://example.com/", "other.org, example.com", false},
        {"http://example.com:8080/", "example.com:8080", false},
        {"http://example.com/", "example.com:8080", true},
        {"http://10.1.2.3/", "10.0.0.0/8", false},
        {"http://11.1.2.3/", "10.0.0.0/8", true},
        {"http://10.1.2.3/", "10.1.2.0/23", false},
        {"http://10.1.4.3/", "10.1.2.0/23", true},
        {"http://[2001:db8::1]/", "2001:db8::/32", false},
        {"http://10.1.2.3/", "10.1.2.3", false},
        {"http://10.1.2.3/", "10.1.2.3/99,,, ", true},
        {"https://example.com/", "", false},
    };
    setenv("HTTP_PROXY", "http://proxy:3128", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_url u;
        setenv("no_proxy", cases[i].no_proxy, 1);
        assert_true(http_url_parse(cases[i].url, &u));
        if ((http_proxy_for(&u) != NULL) != cases[i].proxied) fail_msg("case %zu: %s", i, cases[i].url);
    }
    unsetenv("no_proxy");
    unsetenv("HTTP_PROXY");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_rules_follow_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
