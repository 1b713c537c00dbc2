/* The longest network that holds an address, and how far that answer reaches: by examples, and against a search that
 * tries every network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/dns/dns_name.h"
#include "common/dns/prefixes.h"

#define N_MAX 400

static size_t make(struct dns_prefix *out, const char *const *texts) {
    size_t n = 0;
    for (; texts[n]; n++) {
        if (!network_parse(&out[n].net, texts[n])) fail_msg("%s", texts[n]);
        out[n].site = (uint32_t)n;
    }
    return n;
}

static void the_longest_network_wins_and_its_scope_leaves_out_nested_ones(void **state) {
    (void)state;
    static const char *const nets[] = {
        "10.1.0.0/16",     "10.1.3.0/24", "10.1.3.128/25",     "192.168.7.7/32", "2001:db8::/32",
        "2001:db8:1::/48", "0.0.0.0/0",   "2001:db8:1::5/128", "10.1.255.0/24",  NULL};
    static const struct {
        const char *ip;
        unsigned bits;
        int site;
        unsigned scope;
    } cases[] = {
        {"10.1.200.9", 32, 0, 19}, /* 10.1.192.0/19 has neither 10.1.3.0/24 nor 10.1.255.0/24 */
        {"10.1.2.9", 24, 0, 24},   /* beside 10.1.3.0/24 */
        {"10.1.3.9", 32, 1, 25},   /* beside its own half that is another's */
        {"10.1.3.200", 32, 2, 25},      {"10.1.0.0", 16, 0, 23}, /* told less than the scope */
        {"10.1.3.128", 24, 1, 25},                               /* the /25 is longer than what was told */
        {"192.168.7.7", 32, 3, 32},     {"192.168.7.6", 32, 6, 32},
        {"11.0.0.0", 8, 6, 8},          {"2001:db8:5::1", 128, 4, 46},
        {"2001:db8:1::5", 128, 7, 128}, {"2001:db8:1::4", 128, 5, 128},
        {"2001:db9::", 64, -1, 32},     {"::1", 128, -1, 3},
    };
    struct dns_prefix list[16];
    struct dns_prefixes *p = dns_prefixes_new(list, make(list, nets));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ip ip;
        assert_true(ip_parse(&ip, cases[i].ip, strlen(cases[i].ip)));
        struct dns_match m = dns_prefixes_find(p, &ip, cases[i].bits);
        int site = m.prefix ? (int)m.prefix->site : -1;
        if (site != cases[i].site || m.scope != cases[i].scope)
            fail_msg("%s/%u: site %d, scope %u", cases[i].ip, cases[i].bits, site, m.scope);
    }
    dns_prefixes_free(p);
}

static void a_network_smaller_than_what_is_told_is_found_within_it(void **state) {
    (void)state;
    static const char *const nets[] = {"10.1.3.16/28", "10.1.3.32/28", "2001:db8:0:1::/64", NULL};
    struct dns_prefix list[8];
    struct dns_prefixes *p = dns_prefixes_new(list, make(list, nets));
    struct ip ip;
    assert_true(ip_parse(&ip, "10.1.3.0", 8));
    struct dns_match m = dns_prefixes_find(p, &ip, 24);
    assert_non_null(m.prefix);
    assert_int_equal(m.prefix->site, 0);
    assert_true(m.scope > 24);
    assert_null(dns_prefixes_find(p, &ip, 32).prefix);
    assert_true(ip_parse(&ip, "2001:db8::", 10));
    assert_int_equal(dns_prefixes_find(p, &ip, 56).prefix->site, 2);
    dns_prefixes_free(p);
}

static void no_networks_at_all_reach_everywhere(void **state) {
    (void)state;
    struct dns_prefixes *p = dns_prefixes_new(NULL, 0);
    struct ip ip;
    assert_true(ip_parse(&ip, "10.1.3.0", 8));
    struct dns_match m = dns_prefixes_find(p, &ip, 24);
    assert_null(m.prefix);
    assert_int_equal(m.scope, 0);
    dns_prefixes_free(p);
}

/* --- against a plain search --- */

static uint64_t seed = 1;

static uint64_t any(void) {
    return dns_mix(seed += 0x9e3779b97f4a7c15ULL);
}

/* Few different bits, so that networks nest and touch. */
static void some_ip(struct ip *ip, bool four) {
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    for (size_t i = 0; i < 16; i++)
        ip->bytes[i] = (unsigned char)(any() % 4 == 0 ? any() : any() % 2 ? 0xff : 0);
    if (four) memcpy(ip->bytes, mapped, sizeof(mapped));
}

static const struct dns_prefix *search(const struct dns_prefix *list, size_t n, const struct ip *ip, unsigned most) {
    const struct dns_prefix *best = NULL;
    for (size_t i = 0; i < n; i++) {
        bool four = ip_is_v4(&list[i].net.ip) && list[i].net.bits >= 96;
        if (four != ip_is_v4(ip) || list[i].net.bits > most || !network_has(&list[i].net, ip)) continue;
        if (!best || list[i].net.bits > best->net.bits) best = &list[i];
    }
    return best;
}

static void flip_after(struct ip *ip, unsigned bits) {
    for (unsigned i = bits; i < 128; i++)
        if (any() & 1) ip->bytes[i / 8] ^= (unsigned char)(0x80 >> i % 8);
}

static void any_networks_are_found_as_by_trying_each(void **state) {
    (void)state;
    for (int round = 0; round < 60; round++) {
        static struct dns_prefix list[N_MAX];
        size_t n = 0, wanted = 1 + any() % (round % 3 ? 30 : N_MAX);
        while (n < wanted) {
            bool four = any() % 2;
            some_ip(&list[n].net.ip, four);
            list[n].net.bits = four ? 96 + (unsigned)(any() % 33) : (unsigned)(any() % 129);
            list[n].site = (uint32_t)n;
            bool twice = false; /* which the configuration refuses */
            for (size_t i = 0; i < n; i++)
                twice = twice || (list[i].net.bits == list[n].net.bits && network_has(&list[i].net, &list[n].net.ip));
            n += !twice;
            wanted -= twice;
        }
        struct dns_prefixes *p = dns_prefixes_new(list, n);
        for (int i = 0; i < 300; i++) {
            struct ip ip;
            bool four = any() % 2;
            some_ip(&ip, four);
            if (any() % 2) ip = list[any() % n].net.ip;
            four = ip_is_v4(&ip);
            unsigned off = four ? 96 : 0;
            struct dns_match m = dns_prefixes_find(p, &ip, four ? 32 : 128);
            const struct dns_prefix *best = search(list, n, &ip, 128);
            assert_int_equal(m.prefix ? (int)m.prefix->site : -1, best ? (int)best->site : -1);
            /* Whoever shares the scope's bits has the same network. */
            for (int other = 0; other < 8; other++) {
                struct ip near = ip;
                flip_after(&near, off + m.scope);
                const struct dns_prefix *its = search(list, n, &near, 128);
                assert_int_equal(its ? (int)its->site : -1, best ? (int)best->site : -1);
            }
            unsigned told = (unsigned)(any() % (four ? 33 : 129));
            const struct dns_prefix *around = search(list, n, &ip, off + told);
            if (around) assert_int_equal(dns_prefixes_find(p, &ip, told).prefix->site, around->site);
        }
        dns_prefixes_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_network_wins_and_its_scope_leaves_out_nested_ones),
        cmocka_unit_test(a_network_smaller_than_what_is_told_is_found_within_it),
        cmocka_unit_test(no_networks_at_all_reach_everywhere),
        cmocka_unit_test(any_networks_are_found_as_by_trying_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
