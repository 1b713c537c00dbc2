/* The request-head parser: what it takes, what it refuses and with which status. */
#include "common/http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Parses all of text at once. */
static ssize_t parse_n(struct head *h, char *buf, const char *text, size_t len) {
    size_t scanned = 0;
    const char *why = "";
    memcpy(buf, text, len);
    return head_parse(h, buf, len, &scanned, &why);
}

static ssize_t verdict_n(const char *text, size_t len) {
    struct head h;
    char buf[65536];
    return parse_n(&h, buf, text, len);
}

static ssize_t verdict(const char *text) {
    return verdict_n(text, strlen(text));
}

#define HOST "Host: a\r\n"

static void head_gives_method_target_and_fields(void **state) {
    (void)state;
    static const char text[] = "PUT /v2/a%2Fb?ns=x HTTP/1.1\r\nHost: h:5000\r\nX-One: \t two  \r\nEmpty:\r\n\r\nbody";
    struct head h;
    char buf[512];
    assert_int_equal(parse_n(&h, buf, text, sizeof(text) - 1), sizeof(text) - 5);
    assert_int_equal(h.method, HTTP_PUT);
    assert_string_equal(buf + h.target_at, "/v2/a%2Fb?ns=x");
    assert_string_equal(buf + h.method_at, "PUT");
    assert_string_equal(buf + head_find(&h, buf, "x-ONE")->value, "two");
    assert_string_equal(buf + head_find(&h, buf, "empty")->value, "");
    assert_null(head_find(&h, buf, "x-on"));
    assert_true(h.keep_alive);
    assert_int_equal(h.content_length, -1);
}

static void head_is_found_however_it_is_cut(void **state) {
    (void)state;
    static const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n";
    size_t scanned = 0;
    const char *why = "";
    struct head h;
    char buf[128];
    for (size_t n = 1; n < sizeof(text) - 1; n++) {
        memcpy(buf, text, n);
        assert_int_equal(head_parse(&h, buf, n, &scanned, &why), 0);
    }
    memcpy(buf, text, sizeof(text) - 1);
    assert_int_equal(head_parse(&h, buf, sizeof(text) - 1, &scanned, &why), sizeof(text) - 1);
    assert_int_equal(h.n_fields, 2);
}

static void head_refuses_ambiguous_requests(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *text;
    } cases[] = {
        {400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: a\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n: a\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nnocolon\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nX[]: a\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nX\xc3\xa4: a\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nX: a\x01\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nX: a\x7f\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip,, chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked,\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip;q=1, chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip \t,deflate,\tChunked\r\n\r\n"},
        {400, "GET /v2/#a HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://a/v2/#a HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET / HTTP/2.7\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.2\r\n" HOST "\r\n"},
        {400, "GET / HTTP/0.9\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.10\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
        {400, "GET / http/1.1\r\n" HOST "\r\n"},
        {400, "GET /\r\n" HOST "\r\n"},
        {400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET / a HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n"},
        {400, " GET / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "G(T / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /\x01 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /\x80 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET a HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET ftp://a/b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://^/b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://u@a/b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://a:x/b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http:///b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n"},
        {417, "PUT / HTTP/1.1\r\n" HOST "Expect: miracles\r\n\r\n"},
        {400, "\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "\x16\x03\x01"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ssize_t got = verdict(cases[i].text);
        if (got != -cases[i].status) fail_msg("%zd, not -%d: %s", got, cases[i].status, cases[i].text);
    }
}

static void head_refuses_nul_wherever_it_stands(void **state) {
    (void)state;
    static const char text[] = "GET /a HTTP/1.1\r\nHost: a\r\nX-Y: bc\r\n\r\n";
    for (size_t i = 0; i < sizeof(text) - 5; i++) {
        char broken[sizeof(text)];
        memcpy(broken, text, sizeof(text));
        broken[i] = '\0';
        ssize_t got = verdict_n(broken, sizeof(text) - 1);
        if (got != -400) fail_msg("%zd with NUL at %zu", got, i);
    }
}

static void head_accepts_valid_requests(void **state) {
    (void)state;
    static const char *const good[] = {
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:5000\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
        "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
        "BREW /pot HTTP/1.1\r\n" HOST "\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "X: caf\xc3\xa9\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ssize_t got = verdict(good[i]);
        if (got != (ssize_t)strlen(good[i])) fail_msg("%zd: %s", got, good[i]);
    }
}

static void head_reduces_an_absolute_target(void **state) {
    (void)state;
    static const char text[] = "GET http://host:80/v2/?a HTTP/1.1\r\nHost: a\r\n\r\n";
    struct head h;
    char buf[128];
    assert_true(parse_n(&h, buf, text, sizeof(text) - 1) > 0);
    assert_string_equal(buf + h.target_at, "/v2/?a");
    assert_int_equal(h.target_len, 6);
}

static void head_keeps_alive_as_version_and_connection_say(void **state) {
    (void)state;
    static const struct {
        bool keep;
        const char *text;
    } cases[] = {
        {true, "GET / HTTP/1.1\r\n" HOST "\r\n"},
        {false, "GET / HTTP/1.1\r\n" HOST "Connection: te, Close\r\n\r\n"},
        {false, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\nConnection: keep-alive\r\n\r\n"},
        {false, "GET / HTTP/1.0\r\n\r\n"},
        {true, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head h;
        char buf[256];
        assert_true(parse_n(&h, buf, cases[i].text, strlen(cases[i].text)) > 0);
        assert_int_equal(h.keep_alive, cases[i].keep);
    }
}

static void head_limits_target_and_field_count(void **state) {
    (void)state;
    static char text[65536];
    size_t n = (size_t)snprintf(text, sizeof(text), "GET /");
    memset(text + n, 'a', HEAD_TARGET_MAX);
    n += HEAD_TARGET_MAX;
    n += (size_t)snprintf(text + n, sizeof(text) - n, " HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(verdict_n(text, n), -414);
    n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST);
    for (int i = 1; i <= HEAD_HEADERS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "X-%d: 1\r\n", i);
    n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n");
    assert_int_equal(verdict_n(text, n), -431);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_gives_method_target_and_fields),
        cmocka_unit_test(head_is_found_however_it_is_cut),
        cmocka_unit_test(head_refuses_ambiguous_requests),
        cmocka_unit_test(head_refuses_nul_wherever_it_stands),
        cmocka_unit_test(head_accepts_valid_requests),
        cmocka_unit_test(head_reduces_an_absolute_target),
        cmocka_unit_test(head_keeps_alive_as_version_and_connection_say),
        cmocka_unit_test(head_limits_target_and_field_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
