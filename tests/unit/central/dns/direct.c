/* Which clients that have come to central are sent to an edge, and to which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/support/dns_fixture.h"

#include "central/dns/direct.h"

static bool directed(const struct dns_view *v, const char *client, char out[280]) {
    struct ip ip;
    assert_true(ip_parse(&ip, client, strlen(client)));
    return dns_direct(v, &ip, out, 280);
}

static void only_the_name_that_depends_on_the_site_is_directed(void **state) {
    (void)state;
    struct dns_zone *z = dns_fixture_usual();
    static const char *const yes[] = {"registry.img.acme.example", "registry.img.acme.example:5000",
                                      "REGISTRY.IMG.acme.example.:80"};
    static const char *const no[] = {"central.img.acme.example",
                                     "a.shanghai.img.acme.example:5000",
                                     "10.0.0.1",
                                     "registry.img.acme.example.org",
                                     "registry.",
                                     "",
                                     "registry.img.acme",
                                     ":5000",
                                     "[::1]:5000"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_true(dns_direct_is_asked(z, yes[i]));
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(dns_direct_is_asked(z, no[i]));
    dns_zone_free(z);
}

static void a_client_gets_its_sites_edge_while_one_is_well(void **state) {
    (void)state;
    char out[280];
    struct dns_zone *z = dns_fixture_usual();
    struct dns_view *well = dns_fixture_view(z, 0), *lost = dns_fixture_view(z, 7), *none = dns_fixture_view(z, 15);
    assert_true(directed(well, "10.1.3.77", out)); /* the longer prefix */
    assert_string_equal(out, "a.suzhou.img.acme.example");
    assert_true(directed(well, "10.1.9.9", out));
    assert_non_null(strstr(out, ".shanghai.img.acme.example"));
    assert_true(directed(lost, "10.1.9.9", out)); /* a neighbour's */
    assert_string_equal(out, "a.suzhou.img.acme.example");
    assert_false(directed(none, "10.1.9.9", out));
    assert_false(directed(well, "10.9.9.9", out)); /* of no site */
    dns_view_free(well);
    dns_view_free(lost);
    dns_view_free(none);
    dns_zone_free(z);
}

static void who_cannot_be_served_by_an_edge_or_is_one_stays(void **state) {
    (void)state;
    char out[280];
    struct dns_zone *z = dns_fixture_usual();
    struct dns_view *v = dns_fixture_view(z, 0);
    assert_false(directed(v, "2001:db8:1::5", out)); /* its edges have IPv4 only */
    assert_false(directed(v, "10.1.0.2", out));      /* an edge of the site */
    struct ip ip;
    assert_true(ip_parse(&ip, "10.1.9.9", 8));
    assert_false(dns_direct(v, &ip, out, 10)); /* the name does not fit */
    dns_view_free(v);
    dns_zone_free(z);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_name_that_depends_on_the_site_is_directed),
        cmocka_unit_test(a_client_gets_its_sites_edge_while_one_is_well),
        cmocka_unit_test(who_cannot_be_served_by_an_edge_or_is_one_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
