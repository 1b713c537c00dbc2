/* DNS cookies as other makers' servers make them: the examples of RFC 9018, appendix A. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/dns/cookie.h"
#include "tests/unit/support/folder.h"

static void from_hex(const char *text, uint8_t *out) {
    for (size_t i = 0; text[2 * i]; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static char dir[64], path[80];

static int set_up(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/entrepot-cookie-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/secret", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return folder_remove(dir);
}

static int load(struct dns_cookies *c, const char *text, struct error *err) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return dns_cookies_load(c, path, err);
}

static void cookies_are_those_of_rfc_9018(void **state) {
    (void)state;
    static const struct {
        const char *secret, *cookie, *ip;
        uint32_t made;
    } cases[] = {
        {"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", "198.51.100.100",
         0x5cf79f11},
        {"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", "198.51.100.100",
         0x5cf7a871},
        {"e5e973e5a6b2a43f48e7dc849e37bfcf", "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e", "203.0.113.203",
         0x5cf7a9ac},
        {"dd3bdf9344b678b185a6f5cb60fca715", "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
         "2001:db8:220:1:59de:d0f4:8769:82b8", 0x5cf7c579},
        {"445536bcd2513298075a5d379663c962", "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
         "2001:db8:220:1:59de:d0f4:8769:82b8", 0x5cf7c609},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_cookies c;
        struct error err = {0};
        struct ip ip;
        uint8_t wanted[DNS_COOKIE_WHOLE], made[DNS_COOKIE_WHOLE];
        assert_int_equal(load(&c, cases[i].secret, &err), 0);
        assert_true(ip_parse(&ip, cases[i].ip, strlen(cases[i].ip)));
        from_hex(cases[i].cookie, wanted);
        dns_cookie_make(&c, wanted, &ip, cases[i].made, made);
        assert_memory_equal(made, wanted, sizeof(made));
        assert_true(dns_cookie_good(&c, wanted, sizeof(wanted), &ip, cases[i].made + 3600));
        assert_true(dns_cookie_good(&c, wanted, sizeof(wanted), &ip, cases[i].made - 300));
        assert_false(dns_cookie_good(&c, wanted, sizeof(wanted), &ip, cases[i].made + 3601));
        assert_false(dns_cookie_good(&c, wanted, sizeof(wanted), &ip, cases[i].made - 301));
        assert_false(dns_cookie_good(&c, wanted, 8, &ip, cases[i].made));
        ip.bytes[15] ^= 1;
        assert_false(dns_cookie_good(&c, wanted, sizeof(wanted), &ip, cases[i].made));
        ip.bytes[15] ^= 1;
        for (size_t bit = 0; bit < 8 * sizeof(wanted); bit++) {
            wanted[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(bit / 8 < 12 && dns_cookie_good(&c, wanted, sizeof(wanted), &ip, cases[i].made));
            assert_false(bit / 8 >= 16 && dns_cookie_good(&c, wanted, sizeof(wanted), &ip, cases[i].made));
            wanted[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* Appendix A.3: a server that sets reserved bytes. */
static void reserved_bytes_are_hashed_as_they_came(void **state) {
    (void)state;
    struct dns_cookies c;
    struct error err = {0};
    struct ip ip;
    uint8_t cookie[DNS_COOKIE_WHOLE];
    assert_int_equal(load(&c, "e5e973e5a6b2a43f48e7dc849e37bfcf", &err), 0);
    assert_true(ip_parse(&ip, "203.0.113.203", 13));
    from_hex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", cookie);
    assert_true(dns_cookie_good(&c, cookie, sizeof(cookie), &ip, 0x5cf78f71));
}

static void the_former_secret_is_still_accepted(void **state) {
    (void)state;
    struct dns_cookies old, both;
    struct error err = {0};
    struct ip ip;
    uint8_t cookie[DNS_COOKIE_WHOLE] = {1, 2, 3};
    assert_true(ip_parse(&ip, "10.1.2.3", 8));
    assert_int_equal(load(&old, "00112233445566778899aabbccddeeff\n", &err), 0);
    assert_int_equal(load(&both, "ffeeddccbbaa99887766554433221100\r\n00112233445566778899AABBCCDDEEFF\n", &err), 0);
    dns_cookie_make(&old, cookie, &ip, 1000, cookie);
    assert_true(dns_cookie_good(&both, cookie, sizeof(cookie), &ip, 1000));
    dns_cookie_make(&both, cookie, &ip, 1000, cookie);
    assert_false(dns_cookie_good(&old, cookie, sizeof(cookie), &ip, 1000));
}

static void a_file_without_a_secret_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"", "abc\n", "00112233445566778899aabbccddeef\n",
                                        "00112233445566778899aabbccddeegg\n", "00112233445566778899aabbccddeeff0\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct dns_cookies c;
        struct error err = {0};
        assert_int_equal(load(&c, texts[i], &err), ERR_INVALID);
        assert_non_null(strstr(err.msg, path));
        assert_true(err.hint[0]);
    }
    unlink(path);
    struct dns_cookies c;
    struct error err = {0};
    assert_true(dns_cookies_load(&c, path, &err) < 0);
    assert_non_null(strstr(err.msg, "dns.cookie_file"));
    assert_int_equal(dns_cookies_load(&c, NULL, &err), 0);
    assert_true(c.n == 1 && (c.keys[0][0] || c.keys[0][1]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cookies_are_those_of_rfc_9018),
        cmocka_unit_test(reserved_bytes_are_hashed_as_they_came),
        cmocka_unit_test(the_former_secret_is_still_accepted),
        cmocka_unit_test(a_file_without_a_secret_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
