/* Versions of settings, and clients, as text. */
#include "common/wire/node_headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void a_version_survives_formatting_and_parsing(void **state) {
    (void)state;
    static const uint64_t versions[] = {1, 0xabcdef, UINT64_MAX, 1ULL << 63};
    char text[17];
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        assert_true(settings_header_parse(settings_header_format(versions[i], text)) == versions[i]);
    assert_string_equal(settings_header_format(0xabc, text), "0000000000000abc");
}

static void malformed_versions_are_refused(void **state) {
    (void)state;
    static const char *const odd[] = {"",
                                      "1",
                                      "000000000000001",
                                      "00000000000000001",
                                      "000000000000000g",
                                      "0x00000000000001",
                                      " 00000000000001 ",
                                      "00000000000000AB",
                                      "-000000000000001",
                                      "0000000000000001, 0000000000000001"};
    assert_true(settings_header_parse(NULL) == 0);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        if (settings_header_parse(odd[i]) != 0) fail_msg("\"%s\"", odd[i]);
    }
}

static void a_client_survives_formatting_and_parsing(void **state) {
    (void)state;
    static const char *const odd[] = {"", "0", "0000002", "00000002a", "0000002A", "0x00002a", " 000002a", "-000002a"};
    char text[CLIENT_HEADER_MAX];
    assert_string_equal(client_header_format(0x2a, text), CLIENT_HEADER ": 0000002a");
    assert_int_equal(client_header_parse(text + strlen(CLIENT_HEADER ": ")), 0x2a);
    assert_true(client_header_parse("ffffffff") == UINT32_MAX);
    assert_int_equal(client_header_parse(NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        if (client_header_parse(odd[i]) != 0) fail_msg("\"%s\"", odd[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_survives_formatting_and_parsing),
        cmocka_unit_test(malformed_versions_are_refused),
        cmocka_unit_test(a_client_survives_formatting_and_parsing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
