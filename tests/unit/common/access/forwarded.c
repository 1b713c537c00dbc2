/* Whom a proxy speaks for, and that nobody else can say so. */
#include "common/access/forwarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct network networks[3];
static const struct proxies proxies = {networks, 3};

static int set_up(void **state) {
    (void)state;
    assert_true(network_parse(&networks[0], "10.0.0.0/8"));
    assert_true(network_parse(&networks[1], "2001:db8:9::/48"));
    assert_true(network_parse(&networks[2], "192.0.2.1/32"));
    return 0;
}

static void expect(const char *peer, const char *xff, const char *forwarded, const char *client) {
    struct ip ip, found;
    char text[IP_TEXT_MAX];
    assert_true(ip_parse(&ip, peer, strlen(peer)));
    found = forwarded_client(&proxies, &ip, xff, forwarded);
    assert_string_equal(ip_text(&found, text), client);
}

static void the_client_is_the_rightmost_address_that_is_no_proxy(void **state) {
    (void)state;
    expect("10.0.0.1", NULL, NULL, "10.0.0.1");
    expect("10.0.0.1", "203.0.113.7", NULL, "203.0.113.7");
    expect("10.0.0.1", "203.0.113.7, 10.3.3.3,192.0.2.1", NULL, "203.0.113.7");
    expect("10.0.0.1", "10.1.1.1, 10.2.2.2", NULL, "10.1.1.1");
    expect("2001:db8:9::1", "2001:db8::5", NULL, "2001:db8::5");
    expect("10.0.0.1", "203.0.113.7:4711", NULL, "203.0.113.7");
    expect("10.0.0.1", "[2001:db8::5]:4711", NULL, "2001:db8::5");
    expect("10.0.0.1", "::ffff:203.0.113.7", NULL, "203.0.113.7");
    expect("10.0.0.1", NULL, "for=203.0.113.7;proto=http;by=10.0.0.1", "203.0.113.7");
    expect("10.0.0.1", NULL, "for=198.51.100.9, proto=https; FOR=\"[2001:db8::5]:4711\"", "2001:db8::5");
}

static void headers_of_untrusted_clients_do_not_count(void **state) {
    (void)state;
    /* Not from a proxy. */
    expect("203.0.113.7", "198.51.100.1", NULL, "203.0.113.7");
    expect("11.0.0.1", NULL, "for=198.51.100.1", "11.0.0.1");
    expect("192.0.2.2", "198.51.100.1", NULL, "192.0.2.2");
    /* To the left of what the proxy has added. */
    expect("10.0.0.1", "10.9.9.9, 198.51.100.1, 203.0.113.7", NULL, "203.0.113.7");
    expect("10.0.0.1", "\"x, 203.0.113.7", NULL, "203.0.113.7");
    expect("10.0.0.1", NULL, "for=\"198.51.100.1, for=203.0.113.7", "203.0.113.7");
    /* In the header that the proxy does not write. */
    expect("10.0.0.1", "203.0.113.7", "for=198.51.100.1", "10.0.0.1");
    expect("10.0.0.1", "", "for=198.51.100.1", "10.0.0.1");
}

static void what_cannot_be_read_ends_the_search(void **state) {
    (void)state;
    static const char *const bad[] = {"",     ",",      "unknown",  "_hidden",      "1.2.3",        "1.2.3.4.5",
                                      "[::1", "[::1]x", "[]",       "1.2.3.4/8",    "203.0.113.7,", " ",
                                      ":",    ":80",    "[1.2.3.4", "fe80::1%eth0", "0x1.2.3.4",    "203.0.113.7 x",
                                      "1:2"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect("10.0.0.1", bad[i], NULL, "10.0.0.1");
    static const char *const forwarded[] = {"for",        "for=",        "for=\"\"", "for=\"",
                                            "by=1.2.3.4", "for=unknown", ";;;",      "for=1.2.3.4,"};
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        expect("10.0.0.1", NULL, forwarded[i], "10.0.0.1");
    expect("10.0.0.1", "203.0.113.7, nonsense, 10.2.2.2", NULL, "10.2.2.2");
}

static void an_endless_list_uses_little_memory(void **state) {
    (void)state;
    static char list[32768];
    for (size_t i = 0; i + 10 < sizeof(list); i += 9)
        memcpy(list + i, "10.1.1.1,", 10);
    list[strlen(list) - 1] = '\0';
    expect("10.0.0.1", list, NULL, "10.1.1.1");
}

static void networks_are_parsed_strictly(void **state) {
    (void)state;
    static const char *const good[] = {"10.0.0.0/8",    "0.0.0.0/0", "::/0",       "10.1.2.3/32",
                                       "2001:db8::/32", "::1/128",   "10.1.2.3/9", "::ffff:10.0.0.0/104"};
    static const char *const bad[] = {
        "",     "/8",          "10.0.0.0",    "10.0.0.0/",   "10.0.0.0/33", "::/129",        "10.0.0.0/08x",
        "10/8", "10.0.0.0/-1", " 10.0.0.0/8", "10.0.0.0/8 ", "proxy/8",     "10.0.0.0/0008", "10.0.0.0/8/8"};
    struct network n;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!network_parse(&n, good[i])) fail_msg("%s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (network_parse(&n, bad[i])) fail_msg("%s", bad[i]);
    struct ip in, out;
    assert_true(network_parse(&n, "10.128.7.0/9") && ip_parse(&in, "10.255.0.1", 10) &&
                ip_parse(&out, "10.127.0.1", 10));
    assert_true(network_has(&n, &in));
    assert_false(network_has(&n, &out));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_is_the_rightmost_address_that_is_no_proxy),
        cmocka_unit_test(headers_of_untrusted_clients_do_not_count),
        cmocka_unit_test(what_cannot_be_read_ends_the_search),
        cmocka_unit_test(an_endless_list_uses_little_memory),
        cmocka_unit_test(networks_are_parsed_strictly),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
