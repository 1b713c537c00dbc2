/* Ranges and conditions. */
#include "common/http/range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* "none", "unsat" or "a-b,c-d" (ends exclusive). */
static const char *ranges_of(const char *header, int64_t size) {
    static char out[512];
    struct http_range r[HTTP_RANGES_MAX];
    unsigned n;
    switch (http_range_parse(header, size, r, &n)) {
    case HTTP_RANGE_NONE:
        return "none";
    case HTTP_RANGE_UNSATISFIABLE:
        return "unsat";
    case HTTP_RANGE_PARTIAL:
        break;
    }
    size_t len = 0;
    for (unsigned i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%lld-%lld", i ? "," : "", (long long)r[i].start,
                                (long long)r[i].end);
    return out;
}

static void range_reads_all_three_forms(void **state) {
    (void)state;
    assert_string_equal(ranges_of("bytes=0-0", 100), "0-1");
    assert_string_equal(ranges_of("bytes=10-", 100), "10-100");
    assert_string_equal(ranges_of("bytes=-10", 100), "90-100");
    assert_string_equal(ranges_of("bytes=-1000", 100), "0-100");
    assert_string_equal(ranges_of("bytes=50-1000", 100), "50-100");
    assert_string_equal(ranges_of("Bytes= 1-2 , 4-5 ,", 100), "1-3,4-6");
    assert_string_equal(ranges_of("bytes=1-99999999999999999999", 100), "1-100");
}

static void range_merges_overlapping(void **state) {
    (void)state;
    assert_string_equal(ranges_of("bytes=0-9,5-19", 100), "0-20");
    assert_string_equal(ranges_of("bytes=0-9,10-19", 100), "0-20");
    assert_string_equal(ranges_of("bytes=0-1,8-9,1-8", 100), "0-10");
    assert_string_equal(ranges_of("bytes=50-59,0-9", 100), "50-60,0-10");
}

static void range_beyond_the_end_is_unsatisfiable(void **state) {
    (void)state;
    assert_string_equal(ranges_of("bytes=100-", 100), "unsat");
    assert_string_equal(ranges_of("bytes=-0", 100), "unsat");
    assert_string_equal(ranges_of("bytes=0-", 0), "unsat");
    assert_string_equal(ranges_of("bytes=99999999999999999999-", 100), "unsat");
    assert_string_equal(ranges_of("bytes=200-,0-0", 100), "0-1");
}

static void range_that_is_not_understood_is_ignored(void **state) {
    (void)state;
    static const char *const odd[] = {"lines=0-1",  "bytes",      "bytes=",        "bytes=a-b",
                                      "bytes=5",    "bytes=5-4",  "bytes=-",       "bytes=1-2x",
                                      "bytes=+1-2", "bytes=1 -2", "bytes=1-2;3-4", "bytes=,"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        if (strcmp(ranges_of(odd[i], 100), "none") != 0) fail_msg("%s: %s", odd[i], ranges_of(odd[i], 100));
    assert_string_equal(ranges_of(NULL, 100), "none");
}

static void more_ranges_than_the_limit_are_ignored(void **state) {
    (void)state;
    char header[2048] = "bytes=";
    for (int i = 0; i < HTTP_RANGES_MAX; i++)
        snprintf(header + strlen(header), sizeof(header) - strlen(header), "%d-%d,", i * 10, i * 10 + 1);
    assert_string_not_equal(ranges_of(header, 100000), "none");
    strcat(header, "0-0");
    assert_string_equal(ranges_of(header, 100000), "none");
}

static void conditions_compare_tags_as_they_should(void **state) {
    (void)state;
    const char *tag = "\"sha256:ab\"";
    assert_false(http_if_none_match(NULL, tag));
    assert_true(http_if_none_match(" * ", tag));
    assert_true(http_if_none_match("\"x\", W/\"sha256:ab\"", tag));
    assert_false(http_if_none_match("\"sha256:abc\", sha256:ab", tag));
    assert_true(http_if_match(NULL, tag));
    assert_true(http_if_match("*", tag));
    assert_true(http_if_match("\"a,b\",\"sha256:ab\"", tag));
    assert_false(http_if_match("W/\"sha256:ab\"", tag));
    assert_false(http_if_match("\"unended", tag));
    assert_true(http_if_range(NULL, tag));
    assert_true(http_if_range(tag, tag));
    assert_false(http_if_range("W/\"sha256:ab\"", tag));
    assert_false(http_if_range("Tue, 24 Nov 2026 00:00:00 GMT", tag));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_reads_all_three_forms),
        cmocka_unit_test(range_merges_overlapping),
        cmocka_unit_test(range_beyond_the_end_is_unsatisfiable),
        cmocka_unit_test(range_that_is_not_understood_is_ignored),
        cmocka_unit_test(more_ranges_than_the_limit_are_ignored),
        cmocka_unit_test(conditions_compare_tags_as_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
