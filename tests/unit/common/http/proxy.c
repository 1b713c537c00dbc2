/* Which proxy the environment names. */
#include "common/http/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

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
        const char *variable;
        setenv("no_proxy", cases[i].no_proxy, 1);
        assert_true(http_url_parse(cases[i].url, &u));
        if ((http_proxy_for(&u, &variable) != NULL) != cases[i].proxied) fail_msg("case %zu: %s", i, cases[i].url);
    }
    unsetenv("no_proxy");
    unsetenv("HTTP_PROXY");
}

static void proxy_urls_are_split_into_parts(void **state) {
    (void)state;
    static const struct {
        const char *value, *url, *user, *password;
    } good[] = {
        {"http://proxy:3128", "http://proxy:3128", NULL, NULL},
        {"http://proxy:3128/", "http://proxy:3128", NULL, NULL},
        {"10.0.0.1:3128", "http://10.0.0.1:3128", NULL, NULL},
        {"http://proxy", "http://proxy:1080", NULL, NULL}, /* as curl has it */
        {"https://proxy", "https://proxy:443", NULL, NULL},
        {"socks5h://[::1]:9050", "socks5h://[::1]:9050", NULL, NULL},
        {"http://[::1]", "http://[::1]:1080", NULL, NULL},
        {"http://joe:Secr%23t%4099@proxy:1", "http://proxy:1", "joe", "Secr#t@99"},
        {"joe:a:b%20c@proxy:1", "http://proxy:1", "joe", "a:b c"},
        {"http://joe@proxy:1", "http://proxy:1", "joe", ""},
    };
    struct http_proxy p;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (http_proxy_read("http_proxy", good[i].value, &p, &err) < 0) fail_msg("%s: %s", good[i].value, err.msg);
        assert_string_equal(p.url, good[i].url);
        if (good[i].user) assert_string_equal(p.user, good[i].user);
        if (good[i].user) assert_string_equal(p.password, good[i].password);
        assert_true(good[i].user || !p.user);
        http_proxy_fini(&p);
    }
    static const char *const bad[] = {
        "http://joe:Secr#t99@127.0.0.1:1",
        "http://joe:Secr t99@127.0.0.1:1",
        "http://joe:Secr/t99@127.0.0.1:1",
        "http://joe:Secr@t99@127.0.0.1:1",
        "ftp://joe:Secrt99@127.0.0.1:1",
        "http://joe:Secr%t99@127.0.0.1:1",
        "http://joe:Secr%0at99@h:1",
        "http://joe:Secr?t99@h:1",
        "http://joe:12#t99@h:1",
        "http://joe:t99@",
        "joe:t99@h:port",
        "://joe:t99@h",
        "http://h:99999",
        "http:///x",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setenv("https_proxy", bad[i], 1);
        if (http_proxies_check(&err) == 0) fail_msg("%s is taken", bad[i]);
        assert_non_null(strstr(err.msg, "https_proxy"));
        assert_null(strstr(err.msg, "t99"));
        assert_null(strstr(err.hint, "t99"));
        assert_non_null(strstr(err.hint, "http://HOST:3128, with USER:PASSWORD@ before HOST"));
    }
    unsetenv("https_proxy");
    assert_int_equal(http_proxies_check(&err), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_rules_follow_the_environment),
        cmocka_unit_test(proxy_urls_are_split_into_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
