/* Registry error documents stay valid JSON whatever they are given. */
#include "common/oci/regerror.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Parses the document and returns a member of its first error; the caller decrefs *doc. */
static const char *member(const char *buf, size_t len, const char *key, json_t **doc) {
    *doc = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(*doc);
    return json_string_value(json_object_get(json_array_get(json_object_get(*doc, "errors"), 0), key));
}

static void every_code_has_its_own_name_and_status(void **state) {
    (void)state;
    for (unsigned e = 0; e < REGERR_COUNT; e++) {
        char buf[256];
        size_t len = regerror_document((enum regerror)e, NULL, NULL, buf, sizeof(buf));
        json_t *doc;
        assert_string_equal(member(buf, len, "code", &doc), regerror_code((enum regerror)e));
        json_decref(doc);
        assert_int_equal(regerror_by_code(regerror_code((enum regerror)e)), e);
        assert_in_range(regerror_status((enum regerror)e), 400, 599);
        assert_true(regerror_message((enum regerror)e)[0]);
    }
    assert_int_equal(regerror_by_code("NOPE"), REGERR_UNKNOWN);
    assert_int_equal(regerror_by_code(NULL), REGERR_UNKNOWN);
}

static void message_and_detail_are_escaped(void **state) {
    (void)state;
    char buf[512];
    const char *odd = "a\"b\\c\n\x01\x7f \xc3\xa9 \xf0\x9f\x90\xb3";
    size_t len = regerror_document(REGERR_NAME_UNKNOWN, odd, odd, buf, sizeof(buf));
    json_t *doc;
    assert_string_equal(member(buf, len, "message", &doc), odd);
    json_decref(doc);
    assert_string_equal(member(buf, len, "detail", &doc), odd);
    json_decref(doc);
    assert_int_equal(strlen(buf), len);
}

static void broken_utf8_becomes_question_marks(void **state) {
    (void)state;
    char buf[512];
    size_t len = regerror_document(REGERR_UNKNOWN, "\xff\xc0\x80\xed\xa0\x80\xe2\x82", NULL, buf, sizeof(buf));
    json_t *doc;
    assert_string_equal(member(buf, len, "message", &doc), "????????");
    json_decref(doc);
}

static void long_words_are_cut_to_fit_at_any_length(void **state) {
    (void)state;
    char text[600];
    for (size_t n = 0; n < 500; n++) {
        memset(text, 'x', n);
        strcpy(text + n, "\"\xe2\x82\xac\n\"\"\"");
        for (size_t cap = 256; cap < 264; cap++) {
            char *buf = malloc(cap);
            size_t len = regerror_document(REGERR_MANIFEST_BLOB_UNKNOWN, text, n % 2 ? text : NULL, buf, cap);
            assert_true(len < cap);
            json_t *doc;
            assert_non_null(member(buf, len, "message", &doc));
            json_decref(doc);
            free(buf);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_name_and_status),
        cmocka_unit_test(message_and_detail_are_escaped),
        cmocka_unit_test(broken_utf8_becomes_question_marks),
        cmocka_unit_test(long_words_are_cut_to_fit_at_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
