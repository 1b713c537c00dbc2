/* Which edge a client subnet gets, and what happens when one is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/support/dns_fixture.h"

enum { SUBNETS = 3000 };

static const struct dns_target *pick(const struct dns_view *v, uint32_t site, unsigned subnet) {
    struct ip ip;
    const struct dns_target *out[2];
    assert_true(ip_parse(&ip, "10.1.0.0", 8));
    ip.bytes[13] = (uint8_t)(subnet >> 8);
    ip.bytes[14] = (uint8_t)subnet;
    size_t n = dns_view_pick(v, &v->choices[site], dns_subnet_key(&ip, 24), 2, out);
    assert_true(n >= 1 && (n == 1 || out[0] != out[1]));
    return out[0];
}

static void a_lost_edge_moves_its_own_clients_alone_and_spreads_them(void **state) {
    (void)state;
    struct dns_zone *z = dns_fixture_usual();
    assert_non_null(z);
    struct dns_view *all = dns_fixture_view(z, 0), *less = dns_fixture_view(z, 1 << 1);
    unsigned before[3] = {0}, moved[3] = {0};
    for (unsigned i = 0; i < SUBNETS; i++) {
        size_t a = (size_t)(pick(all, 0, i) - z->edges), b = (size_t)(pick(less, 0, i) - z->edges);
        assert_true(a < 3 && b < 3 && b != 1);
        before[a]++;
        if (a != 1) assert_int_equal(a, b);
        if (a == 1) moved[b]++;
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(before[i], SUBNETS / 3 - 150, SUBNETS / 3 + 150);
    assert_in_range(moved[0], before[1] / 2 - 100, before[1] / 2 + 100);
    assert_in_range(moved[2], before[1] / 2 - 100, before[1] / 2 + 100);
    dns_view_free(all);
    dns_view_free(less);
    dns_zone_free(z);
}

static void weights_are_shares(void **state) {
    (void)state;
    static const char *const sets[] = {
        "dns.zone=z.example", "dns.central=[10.0.0.1]",
        "sites=[{name: s, networks: [10.1.0.0/16], edges: [{name: a, address: 10.1.0.1, weight: 3}, {name: b, address: "
        "10.1.0.2}]}]",
        NULL};
    struct error err = {0};
    struct dns_zone *z = dns_fixture_zone(sets, &err);
    assert_non_null(z);
    struct dns_view *v = dns_fixture_view(z, 0);
    unsigned first = 0;
    for (unsigned i = 0; i < SUBNETS; i++)
        first += pick(v, 0, i) == &z->edges[0];
    assert_in_range(first, SUBNETS * 3 / 4 - 100, SUBNETS * 3 / 4 + 100);
    dns_view_free(v);
    dns_zone_free(z);
}

static void without_edges_a_site_gets_its_neighbours_and_then_central(void **state) {
    (void)state;
    struct dns_zone *z = dns_fixture_usual();
    assert_non_null(z);
    struct dns_view *v = dns_fixture_view(z, 7); /* all of shanghai */
    assert_int_equal(v->choices[0].from, DNS_FROM_NEIGHBOUR);
    assert_ptr_equal(pick(v, 0, 1), &z->edges[3]);
    assert_ptr_equal(pick(v, 2, 1), &z->edges[3]); /* a neighbour that is not configured is passed over */
    dns_view_free(v);
    v = dns_fixture_view(z, 15);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(v->choices[i].from, DNS_FROM_CENTRAL);
        assert_ptr_equal(pick(v, i, 1), &z->central);
    }
    dns_view_free(v);
    dns_zone_free(z);
}

static void zones_that_cannot_be_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *set, *word;
    } cases[] = {
        {"sites=[{name: registry}]", "registry.z.example"},
        {"sites=[{name: central}]", "central.z.example"},
        {"sites=[{name: ns1}]", "ns1.z.example"},
        {"sites=[{name: a}, {name: A}]", "already at sites[0].name"},
        {"sites=[{name: a, networks: [10.1.2.3/16]}, {name: b, networks: [10.1.0.0/16]}]",
         "already at sites[0].networks"},
        {"sites=[{name: a, neighbours: [a]}]", "no neighbour of itself"},
        {"sites=[{name: a.b}]", "cannot be part of a domain name"},
        {"sites=[{name: a, edges: [{name: x, address: 10.1}]}]", "neither an IPv4"},
        {"sites=[{name: a, edges: [{name: x, address: 10.0.0.1}, {name: X, address: 10.0.0.2}]}]",
         "already at sites[0].edges[0]"},
        {"sites=[{name: a, edges: [{name: x, address: \"::5\"}]}]", "one family"},
        {"dns.records=[{name: registry, value: 10.0.0.1}]", "registry.z.example"},
        {"dns.records=[{name: x, type: CNAME, value: y}, {name: x, value: 10.0.0.1}]", "CNAME"},
        {"dns.records=[{name: \"@\", type: CNAME, value: y}]", "CNAME"},
        {"dns.records=[{name: x, type: AAAA, value: 10.0.0.1}]", "cannot be the value"},
        {"dns.records=[{name: elsewhere.example., value: 10.0.0.1}]", "not in the zone"},
        {"dns.servers=[{name: ns}]", "needs addresses"},
        {"dns.central=[10.0.0.1, 10.0.0.2]", "one IPv4 and one IPv6"},
        {"address=central.acme.example", "dns.central"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool own = strncmp(cases[i].set, "dns.central", 11) == 0 || strncmp(cases[i].set, "address", 7) == 0;
        const char *sets[] = {"dns.zone=z.example", cases[i].set, own ? NULL : "dns.central=[10.0.0.1]", NULL};
        struct error err = {0};
        struct dns_zone *z = dns_fixture_zone(sets, &err);
        if (z || !strstr(err.msg, cases[i].word)) fail_msg("%s: %s", cases[i].set, z ? "taken" : err.msg);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_edge_moves_its_own_clients_alone_and_spreads_them),
        cmocka_unit_test(weights_are_shares),
        cmocka_unit_test(without_edges_a_site_gets_its_neighbours_and_then_central),
        cmocka_unit_test(zones_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
