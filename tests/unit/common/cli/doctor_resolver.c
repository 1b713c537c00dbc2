/* What doctor says of a resolver that names addresses of both families: here the zone's own server. */
#include "common/cli/doctor_resolver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/dns/dns_server.h"
#include "tests/unit/support/dns_fixture.h"

enum { THREADS = 1 };
#define SITE "sites=[{name: near, networks: [127.0.0.0/8], edges: ["

static const char *const both[] = {"dns.zone=img.acme.example", "dns.central=[10.0.0.1, \"2001:db8::1\"]",
                                   SITE "{name: a, address: 10.1.0.1, address6: \"2001:db8:1::1\"}]}]", NULL};
static const char *const only_v6[] = {"dns.zone=img.acme.example", "dns.central=[\"2001:db8::1\"]",
                                      SITE "{name: a, address: \"2001:db8:1::1\"}]}]", NULL};

/* What doctor finds of the server of that zone, if these are the addresses of the edges of its own site. */
static struct doctor_check check_of(const char *const *zone, json_t *addresses) {
    struct doctor_check c = {0};
    struct dns_server *server;
    struct error err = {0};
    char at[32];
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    struct dns_views *views = dns_views_new(THREADS + 1);
    const struct dns_server_setup setup = {
        .listen = "127.0.0.1:0", .threads = THREADS, .connections = 8, .views = views};
    assert_int_equal(dns_server_new(&server, &setup, &err), 0);
    struct dns_zone *z = dns_fixture_zone(zone, &err);
    assert_non_null(z);
    dns_views_publish(views, dns_fixture_view(z, 0));
    dns_server_start(server);
    snprintf(at, sizeof(at), "127.0.0.1:%u", dns_server_port(server));
    json_t *facts =
        json_pack("{s:s, s:s, s:s, s:o, s:[s, s]}", "name", "registry.img.acme.example", "zone", "img.acme.example",
                  "site", "near", "addresses", addresses, "central", "10.0.0.1", "2001:db8::1");
    doctor_resolver(facts, at, &c);
    json_decref(facts);
    dns_server_free(server);
    dns_views_free(views);
    return c;
}

static void assert_says(const struct doctor_check *c, const char *text) {
    if (!strstr(c->message, text)) fail_msg("\"%s\" does not say \"%s\"", c->message, text);
}

static void an_edge_of_the_site_may_have_addresses_of_both_families(void **state) {
    (void)state;
    const struct doctor_check c = check_of(both, json_pack("[s, s]", "2001:db8:1::1", "10.1.0.1"));
    assert_says(&c, "names an edge of this site (10.1.0.1, 2001:db8:1::1); the zone's server sees it as 127.0.0.1");
    assert_int_equal(c.verdict, DOCTOR_OK);
}

static void an_edge_of_another_site_is_found_that_is_named_by_ipv6_alone(void **state) {
    (void)state;
    const struct doctor_check c = check_of(both, json_pack("[s]", "10.1.0.1"));
    assert_says(&c, "names an edge of this site (10.1.0.1) and an edge of another site (2001:db8:1::1); ");
    assert_int_equal(c.verdict, DOCTOR_WARN);
    assert_non_null(strstr(c.todo, "dns explain"));
}

static void a_zone_with_ipv6_alone_is_no_fault(void **state) {
    (void)state;
    const struct doctor_check c = check_of(only_v6, json_pack("[s]", "2001:db8:1::1"));
    assert_says(&c, "names an edge of this site (2001:db8:1::1); ");
    assert_int_equal(c.verdict, DOCTOR_OK);
}

static void central_is_told_from_an_edge(void **state) {
    (void)state;
    static const char *const none[] = {"dns.zone=img.acme.example", "dns.central=[10.0.0.1, \"2001:db8::1\"]", NULL};
    const struct doctor_check c = check_of(none, json_pack("[s, s]", "10.1.0.1", "2001:db8:1::1"));
    assert_says(&c, "names central (10.0.0.1, 2001:db8::1); ");
    assert_int_equal(c.verdict, DOCTOR_WARN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edge_of_the_site_may_have_addresses_of_both_families),
        cmocka_unit_test(an_edge_of_another_site_is_found_that_is_named_by_ipv6_alone),
        cmocka_unit_test(a_zone_with_ipv6_alone_is_no_fault),
        cmocka_unit_test(central_is_told_from_an_edge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
