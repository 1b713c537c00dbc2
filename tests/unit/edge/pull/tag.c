/* What an edge makes of central's answer about a tag. */
#include "edge/pull/tag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/wire.h"

static void an_answer_to_no_question_is_refused_with_its_reason(void **state) {
    (void)state;
    struct wire_answer answers[2] = {{.status = WIRE_NOT_FOUND}, {.status = WIRE_NOT_FOUND}};
    for (size_t n = 0; n <= 2; n++) {
        struct wire_response rs = {.version = WIRE_VERSION, .answers = answers, .n_answers = n};
        uint8_t *data;
        size_t len;
        struct error err = {0};
        struct tag_reply reply;
        assert_int_equal(wire_response_encode(&rs, &data, &len, &err), 0);
        tag_reply_read(&reply, (const char *)data, len);
        free(data);
        assert_int_equal(reply.end.code, n == 1 ? ERR_NOT_FOUND : ERR_UPSTREAM);
        if (n == 1) continue;
        const char *reason = strstr(reply.end.msg, "not readable: ");
        assert_non_null(reason);
        assert_true(strlen(reason) > strlen("not readable: "));
    }
}

static void rubbish_is_refused_with_its_reason(void **state) {
    (void)state;
    struct tag_reply reply;
    tag_reply_read(&reply, "\xff\xff\xff", 3);
    assert_int_equal(reply.end.code, ERR_UPSTREAM);
    const char *reason = strstr(reply.end.msg, "not readable: ");
    assert_non_null(reason);
    assert_true(strlen(reason) > strlen("not readable: "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_to_no_question_is_refused_with_its_reason),
        cmocka_unit_test(rubbish_is_refused_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
