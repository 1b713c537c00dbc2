/* What an edge makes of central's answer about a tag. */
#include "edge/pull/central_tag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/core/clock.h"
#include "common/wire/wire.h"

static void read_back(struct tag_reply *reply, const struct wire_response *rs) {
    uint8_t *data;
    size_t len;
    struct error err = {0};
    assert_int_equal(wire_response_encode(rs, &data, &len, &err), 0);
    tag_reply_read(reply, (const char *)data, len);
    free(data);
}

static void an_answer_nobody_asked_for_is_refused_with_its_reason(void **state) {
    (void)state;
    struct wire_answer answers[2] = {{.status = WIRE_NOT_FOUND}, {.status = WIRE_NOT_FOUND}};
    for (size_t n = 0; n <= 2; n++) {
        struct wire_response rs = {.version = WIRE_VERSION, .answers = answers, .n_answers = n};
        struct tag_reply reply;
        read_back(&reply, &rs);
        assert_int_equal(reply.end.code, n == 1 ? ERR_NOT_FOUND : ERR_UPSTREAM);
        if (n == 1) continue;
        const char *reason = strstr(reply.end.msg, "not readable: ");
        assert_non_null(reason);
        assert_true(strlen(reason) > strlen("not readable: "));
    }
}

/* Whatever the words are: flags are flags. */
static void all_that_central_knows_of_a_tag_arrives(void **state) {
    (void)state;
    struct wire_tag t = {.repo = {"docker.io", "library/app"}, .tag = "v1", .age_s = 1000};
    t.facts =
        (struct tag_facts){.size = 42, .media_type = "a/b", .deleted = true, .stale = true, .warning = "gone there"};
    digest_of(&t.facts.digest, DIGEST_SHA256, "x", 1);
    struct wire_answer a = {.status = WIRE_KNOWN, .tag = &t};
    struct wire_response rs = {.version = WIRE_VERSION, .answers = &a, .n_answers = 1};
    struct tag_reply reply;
    read_back(&reply, &rs);
    assert_int_equal(reply.end.code, 0);
    const struct tag_facts *f = reply.head.tag;
    assert_ptr_equal(f, &reply.facts);
    assert_true(f->deleted && f->stale && f->size == 42 && digest_eq(&f->digest, &t.facts.digest));
    assert_string_equal(f->warning, "gone there");
    assert_string_equal(f->media_type, "a/b");
    assert_true(f->checked_at > 0 && f->checked_at <= clock_wall_s() - 1000);
    assert_null(reply.head.warning);

    t.facts.deleted = false;
    t.facts.warning[0] = '\0'; /* of a central that gives no words */
    read_back(&reply, &rs);
    assert_true(reply.facts.stale && !reply.facts.deleted);
    assert_string_equal(reply.facts.warning, "stale: central could not check this tag");
    t.facts.stale = false;
    snprintf(t.facts.warning, sizeof(t.facts.warning), "deleted: is what it says");
    read_back(&reply, &rs);
    assert_true(reply.facts.stale && !reply.facts.deleted);
}

static void each_refusal_keeps_its_error_code(void **state) {
    (void)state;
    static const struct {
        enum wire_status status;
        int code;
    } cases[] = {{WIRE_NOT_FOUND, ERR_NOT_FOUND},       {WIRE_DENIED, ERR_DENIED},
                 {WIRE_RATE_LIMITED, ERR_RATE_LIMITED}, {WIRE_TIMEOUT, ERR_TIMEOUT},
                 {WIRE_UNAVAILABLE, ERR_UPSTREAM},      {WIRE_INVALID, ERR_INVALID}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire_answer a = {.status = cases[i].status, .message = "why"};
        struct wire_response rs = {.version = WIRE_VERSION, .answers = &a, .n_answers = 1};
        struct tag_reply reply;
        read_back(&reply, &rs);
        assert_int_equal(reply.end.code, cases[i].code);
        assert_string_equal(reply.end.msg, "central: why");
    }
}

static void a_malformed_answer_is_refused_with_its_reason(void **state) {
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
        cmocka_unit_test(an_answer_nobody_asked_for_is_refused_with_its_reason),
        cmocka_unit_test(all_that_central_knows_of_a_tag_arrives),
        cmocka_unit_test(each_refusal_keeps_its_error_code),
        cmocka_unit_test(a_malformed_answer_is_refused_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
