/* The chunked decoder. */
#include "common/http/chunked.h"
#include "common/core/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Decodes text fed in steps of `step` bytes into out; bytes consumed, or negative. done tells whether it ended. */
static ssize_t decode(const char *text, size_t len, size_t step, char *out, bool *done) {
    struct chunked c;
    chunked_init(&c);
    size_t at = 0, got = 0;
    while (at < len && !c.done) {
        const char *part;
        size_t n;
        ssize_t used = chunked_feed(&c, text + at, len - at < step ? len - at : step, &part, &n);
        if (used < 0) return used;
        if (n) memcpy(out + got, part, n);
        got += n;
        at += (size_t)used;
    }
    out[got] = '\0';
    *done = c.done;
    return (ssize_t)at;
}

static void chunks_decode_however_they_are_cut(void **state) {
    (void)state;
    static const char text[] = "5\r\nhello\r\n00a;x=\"y\"\r\n, chunked!\r\n0\r\nTrailer: dropped\r\n\r\nGET";
    for (size_t step = 1; step < sizeof(text); step++) {
        char out[64];
        bool done;
        assert_int_equal(decode(text, sizeof(text) - 1, step, out, &done), sizeof(text) - 4);
        assert_true(done);
        assert_string_equal(out, "hello, chunked!");
    }
}

static void broken_chunks_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"5\nhello\r\n0\r\n\r\n",
                                      "5 \r\nhello\r\n",
                                      " 5\r\nhello\r\n",
                                      "0x5\r\nhello\r\n",
                                      "+5\r\nhello\r\n",
                                      "-5\r\nhello\r\n",
                                      "\r\nhello",
                                      "5\r\nhelloX\r\n",
                                      "5\r\nhello\n0",
                                      "g\r\n",
                                      "5\r\nhello\r\r",
                                      "1000000000000000\r\n",
                                      "0\r\n\n",
                                      "0\r\nA: b\n\r\n",
                                      "0\r\n folded\r\n\r\n",
                                      "5;a\x01\r\nhello\r\n",
                                      "5\rhello",
                                      "0\r\nA: \x7f\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[64];
        bool done = false;
        if (decode(bad[i], strlen(bad[i]), 1, out, &done) != ERR_INVALID) fail_msg("taken: %s", bad[i]);
    }
}

static void extensions_and_trailers_are_bounded(void **state) {
    (void)state;
    static char text[20000], out[64];
    bool done;
    memset(text, 'x', sizeof(text));
    memcpy(text, "5;", 2);
    assert_int_equal(decode(text, sizeof(text), sizeof(text), out, &done), ERR_INVALID);
    memcpy(text, "0\r\n", 3);
    assert_int_equal(decode(text, sizeof(text), sizeof(text), out, &done), ERR_INVALID);
}

static void payload_that_was_given_back_is_returned_again(void **state) {
    (void)state;
    static const char text[] = "5\r\nhello\r\n0\r\n\r\n";
    struct chunked c;
    const char *part;
    size_t n;
    chunked_init(&c);
    assert_int_equal(chunked_feed(&c, text, sizeof(text) - 1, &part, &n), 8);
    assert_int_equal(n, 5);
    chunked_give_back(&c, 3);
    assert_int_equal(chunked_feed(&c, text + 5, sizeof(text) - 6, &part, &n), 3);
    assert_memory_equal(part, "llo", 3);
    assert_int_equal(chunked_feed(&c, text + 8, sizeof(text) - 9, &part, &n), 7);
    assert_int_equal(n, 0);
    assert_true(c.done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_decode_however_they_are_cut),
        cmocka_unit_test(broken_chunks_are_refused),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
        cmocka_unit_test(payload_that_was_given_back_is_returned_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
