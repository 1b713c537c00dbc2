/* Where a registry may send us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/upstream/redirect.h"

static void redirect_keeps_credentials_within_an_origin_only(void **state) {
    (void)state;
    static const struct {
        const char *from, *location;
        int code;
        const char *url;
        bool same;
    } cases[] = {
        {"https://r/v2/a", "/cdn/x?sig=%2F", 0, "https://r/cdn/x?sig=%2F", true},
        {"https://r/v2/a", "https://R:443/x", 0, "https://R:443/x", true},
        {"https://r/v2/a", "https://r:444/x", 0, "https://r:444/x", false},
        {"https://r/v2/a", "https://r.example/x", 0, "https://r.example/x", false},
        {"http://r/v2/a", "https://r/x", 0, "https://r/x", false},
        {"http://r/v2/a", "http://s/x", 0, "http://s/x", false},
        {"https://r/v2/a", "http://r/x", ERR_UPSTREAM, NULL, false},
        {"https://r/v2/a", "ftp://r/x", ERR_UPSTREAM, NULL, false},
        {"https://r/v2/a", "file:///etc/passwd", ERR_UPSTREAM, NULL, false},
        {"https://r/v2/a", "https://u:p@r/x", ERR_UPSTREAM, NULL, false},
        {"https://r/v2/a", NULL, ERR_UPSTREAM, NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct redirect r;
        struct error err = {0};
        int code = redirect_follow(cases[i].from, cases[i].location, &r, &err);
        if (code != cases[i].code) fail_msg("case %zu: %d %s", i, code, err.msg);
        if (code == 0) {
            assert_string_equal(r.url, cases[i].url);
            assert_int_equal(r.same_origin, cases[i].same);
        } else {
            assert_true(err.msg[0]);
        }
        free(r.url);
    }
}

static void an_https_registry_may_not_name_an_http_realm(void **state) {
    (void)state;
    static const struct {
        const char *endpoint, *realm;
        bool usable;
    } cases[] = {
        {"https://r", "https://auth/token", true},
        {"https://r", "http://r/token", false},
        {"http://r", "http://auth/token", true},
        {"http://r", "https://auth/token", true},
        {"https://r", "ftp://r/token", false},
        {"https://r", "https://u:p@r/token", false},
        {"https://r", "/token", false},
        {"https://r", "https://r/token#x", false},
        {"https://r", "file:///etc/passwd", false},
        {"https://r", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_url u;
        assert_true(http_url_parse(cases[i].endpoint, &u));
        if (realm_is_usable(&u, cases[i].realm) != cases[i].usable) fail_msg("case %zu", i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(redirect_keeps_credentials_within_an_origin_only),
                                       cmocka_unit_test(an_https_registry_may_not_name_an_http_realm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
