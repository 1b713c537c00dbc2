/* What leaves in texts: no users of URLs, and no control characters that sources put there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/core/base.h"
#include "common/core/error.h"
#include "common/core/hide.h"
#include "common/source/source.h"

static void hide_removes_users_from_urls(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"no url, joe@host", "no url, joe@host"},
        {"http://host:80/a", "http://host:80/a"},
        {"https://[::1]:80/a", "https://[::1]:80/a"},
        {"\"http://joe:Secr#t99@127.0.0.1:1\": x", "\"http://127.0.0.1:1\": x"},
        {"http://joe:a/b@c@host/x, https://t0ken@h", "http://host/x, https://h"},
        {"http://host:80, and more; ftp://u:p@h", "http://host:80, and more; ftp://h"},
        {"(http://host:80) http://host:", "(http://host:80) http://host:"},
        {"cut: http://joe:Secr", "cut: http://"},
        {"cut: http://joe:12ab", "cut: http://"},
        {"://@://@", "://"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[200];
        snprintf(text, sizeof(text), "%s", cases[i][0]);
        hide_users(text);
        assert_string_equal(text, cases[i][1]);
    }
}

static void what_sources_say_holds_no_control_characters(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plain \xc3\xa4 \xe2\x82\xac", "plain \xc3\xa4 \xe2\x82\xac"},
        {"a\x1b[2J\r\nb\x7f", "a?[2J  b?"},
        {"\xc2\x9b[31m \xc2\xa0", "?[31m \xc2\xa0"},
        {"\xe2\x80\xaegpj \xe2\x81\xa6 \xe2\x80\x8f", "?gpj ? ?"},
        {"cut \xe2\x80", "cut \xe2\x80"},
        {"cut \xc2", "cut \xc2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch_end e;
        fetch_end_set(&e, ERR_UPSTREAM, "%s", cases[i][0]);
        assert_string_equal(e.msg, cases[i][1]);
    }
}

static void errors_contain_no_user_names(void **state) {
    (void)state;
    struct error e = {0};
    struct fetch_end end;
    error_set(&e, ERR_INVALID, "%s is odd", "http://joe:pa55@h");
    assert_string_equal(e.msg, "http://h is odd");
    error_wrap(&e, "at %s", "https://joe:pa55@h");
    assert_string_equal(e.msg, "at https://h: http://h is odd");
    error_hint(&e, "try %s", "https://joe:pa55@h");
    assert_string_equal(e.hint, "try https://h");
    fetch_end_set(&end, ERR_UPSTREAM, "sent us to %s", "https://joe:pa55@h");
    assert_string_equal(end.msg, "sent us to https://h");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hide_removes_users_from_urls),
        cmocka_unit_test(errors_contain_no_user_names),
        cmocka_unit_test(what_sources_say_holds_no_control_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
