/* WWW-Authenticate as registries write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "common/upstream/challenge.h"

static void challenge_is_read_in_any_form(void **state) {
    (void)state;
    static const struct {
        const char *value;
        bool basic, bearer;
        const char *realm, *service, *scope;
    } cases[] = {
        {"Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\"",
         false, true, "https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull"},
        {"bearer   scope = \"repository:a:pull,push\" ,  realm = \"https://r/\"", false, true, "https://r/", "",
         "repository:a:pull,push"},
        {"BEARER REALM=\"https://r/\"", false, true, "https://r/", "", ""},
        {"Bearer realm=https://r/token,service=s", false, true, "https://r/token", "s", ""},
        {"Basic realm=\"Registry\"", true, false, "", "", ""},
        {"Basic", true, false, "", "", ""},
        {"Basic realm=\"x\", Bearer realm=\"https://r/\",service=\"s\"", true, true, "https://r/", "s", ""},
        {"Bearer realm=\"https://r/\",service=\"s\", Basic realm=\"x\"", true, true, "https://r/", "s", ""},
        {"Negotiate YWJj==, Bearer realm=\"https://r/\"", false, true, "https://r/", "", ""},
        {"Negotiate, Digest realm=\"d\", nonce=\"n, Bearer realm=x\", Basic", true, false, "", "", ""},
        {"Bearer realm=\"a \\\"quoted\\\" word\"", false, true, "a \"quoted\" word", "", ""},
        {"Bearer error=\"insufficient_scope\", realm=\"https://r/\"", false, true, "https://r/", "", ""},
        {"Bearer realm=\"https://one/\", Bearer realm=\"https://two/\"", false, true, "https://one/", "", ""},
        {"Bearer service=\"no-realm\"", false, false, "", "", ""},
        {"Bearer realm=\"not closed", false, false, "", "", ""},
        {"Bearer realm=\"contr\001l\"", false, false, "", "", ""},
        {"Bearer realm=\"h\xc3\xa4ll\"", false, false, "", "", ""},
        {"Bearer", false, false, "", "", ""},
        {"", false, false, "", "", ""},
        {",,, =, \"\" ;;", false, false, "", "", ""},
        {"realm=\"https://r/\"", false, false, "", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct challenge c = {0};
        challenge_add(&c, cases[i].value);
        if (c.basic != cases[i].basic || c.bearer != cases[i].bearer || strcmp(c.realm, cases[i].realm) != 0 ||
            strcmp(c.service, cases[i].service) != 0 || strcmp(c.scope, cases[i].scope) != 0)
            fail_msg("%s: %d %d %s|%s|%s", cases[i].value, c.basic, c.bearer, c.realm, c.service, c.scope);
    }
}

static void challenge_lines_add_up(void **state) {
    (void)state;
    struct challenge c = {0};
    challenge_add(&c, "Basic realm=\"x\"");
    challenge_add(&c, "Bearer realm=\"https://r/\"");
    challenge_add(&c, "Bearer realm=\"https://other/\"");
    assert_true(c.basic && c.bearer);
    assert_string_equal(c.realm, "https://r/");
}

static void challenge_too_long_is_no_challenge(void **state) {
    (void)state;
    char value[4096] = "Bearer realm=\"https://";
    size_t n = strlen(value);
    memset(value + n, 'a', 2000);
    memcpy(value + n + 2000, "\"", 2);
    struct challenge c = {0};
    challenge_add(&c, value);
    assert_false(c.bearer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(challenge_is_read_in_any_form),
        cmocka_unit_test(challenge_lines_add_up),
        cmocka_unit_test(challenge_too_long_is_no_challenge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
