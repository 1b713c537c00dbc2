/* The token of `edge invite`: what is cut, mistyped or of another kind is told as such, and never taken. */
#include "common/identity/join_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct join_token sample(void) {
    struct join_token t = {.expires_s = 1800000000, .n_roots = 2, .n_addresses = 2};
    memset(t.secret, 0x5a, sizeof(t.secret));
    memset(t.roots[0], 1, ROOT_HASH_BYTES);
    memset(t.roots[1], 2, ROOT_HASH_BYTES);
    snprintf(t.addresses[0], TOKEN_ADDRESS_MAX, "central.acme.example:5001");
    snprintf(t.addresses[1], TOKEN_ADDRESS_MAX, "[2001:db8::5]:5001");
    return t;
}

static void refuses(const char *text, const char *says) {
    struct join_token t;
    struct error err = {0};
    assert_int_equal(token_parse(&t, text, &err), ERR_INVALID);
    if (!strstr(err.msg, says)) fail_msg("\"%s\" is not in: %s", says, err.msg);
    assert_non_null(strstr(err.hint, "edge invite"));
}

static void token_is_read_as_it_was_written(void **state) {
    (void)state;
    char text[TOKEN_TEXT_MAX], padded[TOKEN_TEXT_MAX + 8];
    struct join_token t = sample(), back;
    struct error err = {0};
    assert_int_equal(token_format(&t, text, &err), 0);
    assert_null(strpbrk(text, " \n"));
    snprintf(padded, sizeof(padded), " \t%s\r\n", text);
    assert_int_equal(token_parse(&back, padded, &err), 0);
    assert_memory_equal(&back, &t, sizeof(t));
}

static void every_cut_is_told_as_a_cut(void **state) {
    (void)state;
    char text[TOKEN_TEXT_MAX];
    struct join_token t = sample();
    struct error err = {0};
    assert_int_equal(token_format(&t, text, &err), 0);
    for (size_t len = strlen(text) - 1; len > 12; len--) {
        text[len] = '\0';
        refuses(text, "is cut");
    }
    refuses("entre", "is cut");
    refuses("", "is empty");
}

static void every_changed_character_is_noticed(void **state) {
    (void)state;
    char text[TOKEN_TEXT_MAX];
    struct join_token t = sample(), back;
    struct error err = {0};
    assert_int_equal(token_format(&t, text, &err), 0);
    size_t last = strlen(text) - 1; /* some of its bits may be unused */
    for (size_t i = 0; i < last; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(token_parse(&back, text, &err), ERR_INVALID);
        text[i] = was;
    }
    text[20] = '!';
    refuses(text, "holds '!'");
}

static void what_is_no_token_is_told_as_such(void **state) {
    (void)state;
    char text[TOKEN_TEXT_MAX + 8];
    struct join_token t = sample();
    struct error err = {0};
    refuses("https://central.acme.example:5001", "this is no token");
    refuses("entrepot2-AAAA", "newer central");
    assert_int_equal(token_format(&t, text, &err), 0);
    strcat(text, "AAAA");
    refuses(text, "after its end");
    memset(text, 'A', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    refuses(text, "too long");
}

static void token_without_an_address_or_root_is_not_made(void **state) {
    (void)state;
    char text[TOKEN_TEXT_MAX];
    struct error err = {0};
    struct join_token t = sample();
    t.n_roots = 0;
    assert_int_equal(token_format(&t, text, &err), ERR_INVALID);
    t = sample();
    snprintf(t.addresses[0], TOKEN_ADDRESS_MAX, "central.acme.example");
    assert_int_equal(token_format(&t, text, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "HOST:PORT"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_is_read_as_it_was_written),
        cmocka_unit_test(every_cut_is_told_as_a_cut),
        cmocka_unit_test(every_changed_character_is_noticed),
        cmocka_unit_test(what_is_no_token_is_told_as_such),
        cmocka_unit_test(token_without_an_address_or_root_is_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
