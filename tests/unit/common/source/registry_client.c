/* What of a body was asked for, when it is too short, and what a callback may do. */
#include "common/source/registry_client.h"

#include "common/source/registry_http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* Takes `text` in parts of `step` bytes; returns all that was asked for of it. */
static const char *take(struct registry_body *b, const char *text, size_t step, char out[32]) {
    size_t n = 0;
    for (size_t at = 0; at < strlen(text); at += step) {
        const char *data = text + at;
        size_t len = strlen(data) < step ? strlen(data) : step;
        registry_body_take(b, &data, &len);
        memcpy(out + n, data, len);
        n += len;
    }
    out[n] = '\0';
    return out;
}

static void what_was_asked_for_of_a_body_is_passed_on_and_a_short_one_is_noticed(void **state) {
    (void)state;
    static const struct {
        int64_t offset, length, total, skip;
        const char *body, *wanted;
        bool enough, is_short;
    } cases[] = {
        {0, 0, 10, 0, "0123456789", "0123456789", false, false},
        {0, 0, 10, 0, "012345678", "012345678", false, true},
        {0, 0, -1, 0, "012", "012", false, false}, /* nobody has said how long it is */
        {4, 0, 10, 0, "456789", "456789", false, false},
        {4, 0, 10, 4, "0123456789", "456789", false, false}, /* a 200 to a request with Range */
        {4, 0, 10, 4, "012", "", false, true},
        {4, 0, -1, 4, "012", "", false, true},
        {4, 3, 10, 4, "0123456789", "456", true, false},
        {4, 3, 10, 0, "45", "45", false, true},
        {8, 5, 10, 0, "89", "89", false, false}, /* no more of it exists */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t step = 1; step <= 10; step++) {
            struct fetch_request rq = {.offset = cases[i].offset, .length = cases[i].length};
            struct registry_body b;
            char got[32];
            registry_body_begin(&b, &rq, cases[i].total, cases[i].skip);
            take(&b, cases[i].body, step, got);
            if (strcmp(got, cases[i].wanted) != 0) fail_msg("row %zu by %zu: \"%s\"", i, step, got);
            if (registry_body_is_enough(&b) != cases[i].enough) fail_msg("row %zu by %zu: enough", i, step);
            if (registry_body_is_short(&b) != cases[i].is_short) fail_msg("row %zu by %zu: short", i, step);
        }
    }
}

static void a_request_brings_the_headers_that_it_has_use_for(void **state) {
    (void)state;
    struct registry_headers h;
    struct fetch_request rq = {.kind = FETCH_BLOB, .offset = 5, .length = 3, .request_id = "abc"};
    registry_headers_of(&h, &rq);
    registry_headers_add(&h, "More: yes");
    assert_string_equal(h.list[0], "Range: bytes=5-7");
    assert_string_equal(h.list[1], "X-Request-Id: abc");
    assert_string_equal(h.list[2], "More: yes");
    assert_null(h.list[3]);
    rq = (struct fetch_request){.kind = FETCH_BLOB, .offset = 5};
    registry_headers_of(&h, &rq);
    assert_string_equal(h.list[0], "Range: bytes=5-");
    assert_null(h.list[1]);
    rq = (struct fetch_request){.kind = FETCH_MANIFEST};
    registry_headers_of(&h, &rq);
    assert_memory_equal(h.list[0], "Accept: ", 8);
    assert_null(h.list[1]);
}

static struct fetch_listener listener;
static bool freed_at_once;

static void cancel_in_head(struct fetch *f, const struct fetch_head *h, void *arg) {
    (void)f, (void)h, (void)arg;
    freed_at_once = listener_cancel(&listener);
}

static void take_data(struct fetch *f, const void *data, size_t len, void *arg) {
    (void)f, (void)data, (void)arg;
    assert_int_equal(len, 1);
}

static void who_cancels_in_a_callback_is_freed_after_it(void **state) {
    (void)state;
    static const struct fetch_events events = {.head = cancel_in_head, .data = take_data};
    listener = (struct fetch_listener){.events = &events};
    assert_true(listener_data(&listener, "x", 1));
    assert_true(listener_lull(&listener)); /* it has none */
    assert_false(listener_head(&listener, &(struct fetch_head){0}));
    assert_false(freed_at_once);
    listener = (struct fetch_listener){.events = &events};
    assert_true(listener_cancel(&listener));
}

static void only_the_beginning_of_a_refusal_is_kept_and_it_is_not_read_for_ever(void **state) {
    (void)state;
    static const char text[1000] = "{\"errors\":";
    struct registry_refusal r;
    registry_refusal_init(&r);
    for (int again = 0; again < 2; again++) {
        registry_refusal_begin(&r);
        size_t taken = 0;
        while (registry_refusal_take(&r, text, sizeof(text)))
            taken += sizeof(text);
        assert_int_equal(taken, REGISTRY_REFUSAL_READ_MAX / sizeof(text) * sizeof(text));
        assert_int_equal(r.body.len, REGISTRY_REFUSAL_KEPT_MAX);
        assert_memory_equal(r.body.data, text, sizeof(text));
    }
    registry_refusal_begin(&r);
    assert_true(registry_refusal_take(&r, "short", 5));
    assert_int_equal(r.body.len, 5);
    registry_refusal_fini(&r);
}

static void a_node_of_ours_is_believed_that_a_request_is_wrong_or_that_it_is_busy(void **state) {
    (void)state;
    static const struct {
        int status, retry_after_s, code, of_node;
    } cases[] = {{400, 0, ERR_UPSTREAM, ERR_INVALID},
                 {503, 1, ERR_UPSTREAM, ERR_BUSY},
                 {503, 0, ERR_UPSTREAM, ERR_UPSTREAM},
                 {404, 0, ERR_NOT_FOUND, ERR_NOT_FOUND},
                 {429, 9, ERR_RATE_LIMITED, ERR_RATE_LIMITED}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch_end e;
        fetch_end_from_status(&e, "it", cases[i].status, cases[i].retry_after_s, NULL, 0);
        assert_int_equal(e.code, cases[i].code);
        fetch_end_from_node_status(&e, "it", cases[i].status, cases[i].retry_after_s, NULL, 0);
        assert_int_equal(e.code, cases[i].of_node);
        assert_int_equal(e.status, cases[i].status);
        assert_int_equal(e.retry_after_s, cases[i].retry_after_s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_for_of_a_body_is_passed_on_and_a_short_one_is_noticed),
        cmocka_unit_test(a_request_brings_the_headers_that_it_has_use_for),
        cmocka_unit_test(only_the_beginning_of_a_refusal_is_kept_and_it_is_not_read_for_ever),
        cmocka_unit_test(a_node_of_ours_is_believed_that_a_request_is_wrong_or_that_it_is_busy),
        cmocka_unit_test(who_cancels_in_a_callback_is_freed_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
