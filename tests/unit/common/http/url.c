/* URLs, and which addresses the other side may name. */
#include "common/http/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static void address_classes_follow_the_registries(void **state) {
    (void)state;
    static const struct {
        const char *ip;
        bool is_public;
    } cases[] = {
        {"8.8.8.8", true},
        {"1.1.1.1", true},
        {"0.0.0.0", false},
        {"0.1.2.3", false},
        {"10.255.0.1", false},
        {"11.0.0.1", true},
        {"100.63.255.255", true},
        {"100.64.0.1", false},
        {"100.127.1.1", false},
        {"100.128.0.1", true},
        {"127.0.0.1", false},
        {"127.255.255.255", false},
        {"169.254.169.254", false},
        {"172.15.0.1", true},
        {"172.16.0.1", false},
        {"172.31.255.255", false},
        {"172.32.0.1", true},
        {"192.168.1.1", false},
        {"192.167.1.1", true},
        {"198.17.0.1", true},
        {"198.18.0.1", false},
        {"198.19.255.255", false},
        {"224.0.0.1", false},
        {"239.1.1.1", false},
        {"240.0.0.1", false},
        {"255.255.255.255", false},
        {"::", false},
        {"::1", false},
        {"::127.0.0.1", false},
        {"::ffff:127.0.0.1", false},
        {"::ffff:8.8.8.8", true},
        {"::ffff:169.254.169.254", false},
        {"64:ff9b::8.8.8.8", true},
        {"64:ff9b::10.0.0.1", false},
        {"64:ff9b:1::1", false},
        {"2002:808:808::1", true},
        {"2002:7f00:1::1", false},
        {"2002:a00:1::1", false},
        {"2001::1", false},
        {"2001:db8::1", false},
        {"2606:4700::1111", true},
        {"fe80::1", false},
        {"fec0::1", false},
        {"fc00::1", false},
        {"fd12::1", false},
        {"ff02::1", false},
        {"100::1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sockaddr_storage ss = {0};
        if (strchr(cases[i].ip, ':')) {
            ss.ss_family = AF_INET6;
            assert_int_equal(inet_pton(AF_INET6, cases[i].ip, &((struct sockaddr_in6 *)&ss)->sin6_addr), 1);
        } else {
            ss.ss_family = AF_INET;
            assert_int_equal(inet_pton(AF_INET, cases[i].ip, &((struct sockaddr_in *)&ss)->sin_addr), 1);
        }
        bool is_public = http_addr_class((struct sockaddr *)&ss) == HTTP_ADDR_PUBLIC;
        if (is_public != cases[i].is_public) fail_msg("%s", cases[i].ip);
    }
    struct sockaddr un = {.sa_family = AF_UNIX};
    assert_int_not_equal(http_addr_class(&un), HTTP_ADDR_PUBLIC);
}

static void a_server_may_not_name_an_address_closer_than_its_own(void **state) {
    (void)state;
    static const struct {
        enum http_addr_class from, to;
        bool allowed;
    } cases[] = {
        {HTTP_ADDR_PUBLIC, HTTP_ADDR_PUBLIC, true},        {HTTP_ADDR_PUBLIC, HTTP_ADDR_PRIVATE, false},
        {HTTP_ADDR_PUBLIC, HTTP_ADDR_LOOPBACK, false},     {HTTP_ADDR_PRIVATE, HTTP_ADDR_PUBLIC, true},
        {HTTP_ADDR_PRIVATE, HTTP_ADDR_PRIVATE, true},      {HTTP_ADDR_PRIVATE, HTTP_ADDR_LOOPBACK, false},
        {HTTP_ADDR_LOOPBACK, HTTP_ADDR_LOOPBACK, true},    {HTTP_ADDR_LOOPBACK, HTTP_ADDR_PRIVATE, true},
        {HTTP_ADDR_LOOPBACK, HTTP_ADDR_LINK_LOCAL, false}, {HTTP_ADDR_PRIVATE, HTTP_ADDR_LINK_LOCAL, false},
        {HTTP_ADDR_LOOPBACK, HTTP_ADDR_SPECIAL, false},    {HTTP_ADDR_LINK_LOCAL, HTTP_ADDR_LOOPBACK, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (http_reach_allows(http_reach_from(cases[i].from), cases[i].to) != cases[i].allowed) fail_msg("case %zu", i);
    }
    for (int to = HTTP_ADDR_PUBLIC; to <= HTTP_ADDR_SPECIAL; to++)
        assert_true(http_reach_allows(HTTP_REACH_ANY, (enum http_addr_class)to));
}

static void urls_are_split_into_parts(void **state) {
    (void)state;
    struct http_url u;
    assert_true(http_url_parse("https://Example.com/v2/a?b", &u));
    assert_string_equal(u.scheme, "https");
    assert_int_equal(u.port, 443);
    assert_string_equal(u.path, "/v2/a?b");
    assert_true(http_url_parse("http://[2001:db8::1]:8080", &u));
    assert_string_equal(u.host, "2001:db8::1");
    assert_int_equal(u.port, 8080);
    assert_string_equal(u.path, "");
    assert_true(http_url_parse("http://2130706433/", &u));
    assert_string_equal(u.host, "127.0.0.1");
    static const char *const bad[] = {"x", "ftp://h/", "http://u:p@h/", "http://h:0/", "http://h h/"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (http_url_parse(bad[i], &u)) fail_msg("%s", bad[i]);
    }
}

static void url_join_resolves_locations(void **state) {
    (void)state;
    static const struct {
        const char *base, *location, *result;
    } cases[] = {
        {"http://h:1/a/b?c", "/d", "http://h:1/d"},
        {"http://h:1/a/b?c", "d", "http://h:1/a/d"},
        {"http://h/a", "//other/x", "http://other/x"},
        {"http://h/a", "https://cdn.example/x?sig=1%2F2", "https://cdn.example/x?sig=1%2F2"},
        {"http://h/a", "file:///etc/passwd", NULL},
        {"http://h/a", "http://u:p@x/", NULL},
        {"http://h/a", "gopher://x/", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *joined = http_url_join(cases[i].base, cases[i].location);
        if (cases[i].result)
            assert_string_equal(joined, cases[i].result);
        else
            assert_null(joined);
        free(joined);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_classes_follow_the_registries),
        cmocka_unit_test(a_server_may_not_name_an_address_closer_than_its_own),
        cmocka_unit_test(urls_are_split_into_parts),
        cmocka_unit_test(url_join_resolves_locations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
