/* The tags of one list while its pages come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/serve/tag_set.h"

static size_t read_text(struct tag_set *s, const char *page) {
    size_t added;
    assert_int_equal(tag_set_read(s, page, strlen(page), &added), 0);
    return added;
}

static void tag_set_has_each_tag_once_in_order(void **state) {
    (void)state;
    struct tag_set s = {0};
    assert_int_equal(read_text(&s, "{\"name\":\"x\",\"tags\":[\"b\",\"a\",\"b\",null,7,\"no tag\",\"\",[],\"c\"]}"), 3);
    tag_set_sort(&s);
    char *text = tag_set_take(&s, true);
    assert_string_equal(text, "\"a\",\"b\",\"c\"");
    free(text);
    assert_int_equal(read_text(&s, "{\"tags\":[\"c\",\"a\",\"d\"]}"), 1); /* what was taken is still known */
    text = tag_set_take(&s, false);
    assert_string_equal(text, ",\"d\"");
    free(text);
    static const char *const empty[] = {"{\"tags\":null}", "{\"tags\":[]}", "{\"name\":\"x\"}"};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        assert_int_equal(read_text(&s, empty[i]), 0);
    assert_null(tag_set_take(&s, false));
    tag_set_fini(&s);
}

/* Tags in order are not looked up; from the first on that is not, all are. */
static void tag_set_knows_tags_in_order_when_they_come_again(void **state) {
    (void)state;
    struct tag_set s = {0};
    assert_int_equal(read_text(&s, "{\"tags\":[\"b\",\"c\",\"d\"]}"), 3);
    assert_null(s.seen);
    assert_int_equal(read_text(&s, "{\"tags\":[\"d\",\"b\",\"a\",\"e\",\"a\",\"e\"]}"), 2);
    tag_set_sort(&s);
    char *text = tag_set_take(&s, true);
    assert_string_equal(text, "\"a\",\"b\",\"c\",\"d\",\"e\"");
    free(text);
    tag_set_fini(&s);
    assert_int_equal(read_text(&s, "{\"tags\":[\"a\",\"b\"]}"), 2);
    free(tag_set_take(&s, true));
    assert_int_equal(read_text(&s, "{\"tags\":[\"c\",\"b\",\"a\"]}"), 1);
    tag_set_fini(&s);
}

static void tag_set_refuses_documents_that_are_no_list(void **state) {
    (void)state;
    static const char *const pages[] = {"",
                                        "[]",
                                        "{\"tags\":{}}",
                                        "{\"tags\":\"a\"}",
                                        "{\"tags\":[\"a\"]",
                                        "<html>",
                                        "{}",
                                        "{\"errors\":[{\"code\":\"UNKNOWN\"}]}"};
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        struct tag_set s = {0};
        size_t added;
        assert_int_equal(tag_set_read(&s, pages[i], strlen(pages[i]), &added), ERR_INVALID);
        tag_set_fini(&s);
    }
}

static void tag_set_keeps_to_its_budget(void **state) {
    (void)state;
    struct tag_set s = {0};
    char tag[100];
    bool added;
    int r = 0;
    unsigned n = 0;
    for (; r == 0 && n < 10000000; n++) {
        snprintf(tag, sizeof(tag), "%080u", n);
        r = tag_set_add(&s, tag, &added);
    }
    assert_int_equal(r, ERR_TOO_BIG);
    assert_true(n > 200000); /* a list of 100,000 tags fits */
    assert_true(s.bytes <= TAG_SET_BYTES_MAX + 1024);
    tag_set_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tag_set_has_each_tag_once_in_order),
        cmocka_unit_test(tag_set_knows_tags_in_order_when_they_come_again),
        cmocka_unit_test(tag_set_refuses_documents_that_are_no_list),
        cmocka_unit_test(tag_set_keeps_to_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
