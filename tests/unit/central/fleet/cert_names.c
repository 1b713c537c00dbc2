/* Which names the certificate of an edge's registry port may bear. */
#include "central/fleet/cert_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/core/alloc.h"

static struct node_config *loaded;
static struct cert_names *names;
static struct cert_names_grant *grant;

static void configure(const char *const *sets, size_t n) {
    struct error err = {0};
    const struct config_source src = {.sets = sets, .n_sets = n, .default_file = "/nonexistent"};
    if (central_config_load(&src, &loaded, &err) < 0) fail_msg("%s", err.msg);
    const struct central_config *cfg = (const struct central_config *)(const void *)loaded;
    if (names)
        cert_names_replace(names, cfg);
    else
        names = cert_names_new(cfg);
    central_config_free(loaded);
}

static const char *const full[] = {
    "registry.names=[Registry.Acme.example:5000, mirror.acme.example]",
    "address=10.0.0.1",
    "dns={zone: img.acme.example, central: [10.0.0.2]}",
    "registry.port=5000",
    "fleet.addresses=[\"10.0.0.3:5001\"]",
    "sites=[{name: shanghai, networks: [10.1.0.0/16], edges: [{name: sh-1, address: 10.1.0.5}, {name: sh-2, address: "
    "172.16.9.9}]}, {name: suzhou, networks: [10.1.3.0/24], neighbours: [shanghai], edges: [{name: su-1, address: "
    "10.1.3.5}]}]",
};

static int setup(void **state) {
    (void)state;
    grant = xcalloc(1, sizeof(*grant));
    names = NULL;
    configure(full, ARRAY_LEN(full));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cert_names_free(names);
    free(grant);
    return 0;
}

/* Decides for an edge that asks from `from` for one name. */
static bool granted_from(const char *from, const char *site, const char *name) {
    struct wire_names asked = {.n = 1};
    struct ip ip;
    snprintf(asked.list[0], WIRE_NAME_MAX, "%s", name);
    assert_true(ip_parse(&ip, from, strlen(from)));
    const struct cert_names_ask ask = {.site = site, .edge = "shanghai-1", .from = &ip, .names = &asked};
    cert_names_decide(names, &ask, grant);
    if (grant->refused.n) assert_string_equal(grant->refused.list[0], name);
    return grant->refused.n == 0;
}

static bool granted(const char *name) {
    return granted_from("10.77.0.9", "shanghai", name);
}

static bool bears(const char *name) {
    for (size_t i = 0; i < grant->n; i++)
        if (strcmp(grant->names[i], name) == 0) return true;
    return false;
}

static void an_edge_need_not_ask_for_the_registrys_names_and_its_sites(void **state) {
    (void)state;
    assert_true(granted("10.1.0.5"));
    static const char *const due[] = {"shanghai-1",
                                      "registry.acme.example",
                                      "mirror.acme.example",
                                      "registry.img.acme.example",
                                      "shanghai.img.acme.example",
                                      "10.1.0.5",
                                      "sh-1.shanghai.img.acme.example",
                                      "suzhou.img.acme.example"};
    for (size_t i = 0; i < ARRAY_LEN(due); i++)
        if (!bears(due[i])) fail_msg("%s is missing", due[i]);
    assert_int_equal(grant->n, ARRAY_LEN(due));
}

static void a_neighbours_names_are_not_given_the_other_way_round(void **state) {
    (void)state;
    assert_true(granted_from("10.1.3.5", "suzhou", "10.1.3.5"));
    assert_true(bears("su-1.suzhou.img.acme.example") && bears("suzhou.img.acme.example"));
    assert_false(bears("shanghai.img.acme.example"));
}

static void an_edge_gets_what_is_its_own(void **state) {
    (void)state;
    static const char *const own[] = {"shanghai-1",
                                      "SHANGHAI-1",
                                      "localhost",
                                      "127.0.0.1",
                                      "::1",
                                      "10.1.77.1",
                                      "172.16.9.9",
                                      "10.77.0.9",
                                      "10.1.0.5",
                                      "Mirror.acme.example",
                                      "registry.img.acme.example"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (!granted(own[i])) fail_msg("%s was refused", own[i]);
}

static void an_edge_is_refused_what_is_another_s(void **state) {
    (void)state;
    static const char *const hostile[] = {"registry-1.docker.io",
                                          "docker.io",
                                          "*",
                                          "*.acme.example",
                                          "*.img.acme.example",
                                          "central.img.acme.example",
                                          "sh-1.shanghai.img.acme.example.evil.example",
                                          "sh-2.shanghai.img.acme.example", /* it did not show that address */
                                          "su-1.suzhou.img.acme.example",
                                          "shanghai-2",
                                          "shanghai-1.evil.example",
                                          "central",
                                          "10.0.0.1", /* central's */
                                          "10.1.3.5", /* suzhou's, though within shanghai's network */
                                          "10.1.3.77",
                                          "192.168.1.1", /* outside its networks */
                                          "8.8.8.8",
                                          "0.0.0.0",
                                          "::",
                                          "224.0.0.1",
                                          "10.1.0.0/16",
                                          "10.1.0.5 ",
                                          "a b",
                                          "x\ny",
                                          "mirror.acme.example.",
                                          "mirror.acme.example:5000",
                                          "entrepot://x/central"};
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        if (granted(hostile[i])) fail_msg("%s was granted", hostile[i]);
        assert_false(bears(hostile[i]));
    }
}

static void a_site_without_networks_has_private_addresses_but_not_those_of_others(void **state) {
    (void)state;
    static const char *const good[] = {"192.168.1.1", "10.200.0.1", "172.31.0.1", "fd00::5", "100.64.0.1"};
    static const char *const bad[] = {"10.1.0.5", "10.1.7.7", "10.1.3.5",    "172.16.9.9", "10.0.0.1",
                                      "10.0.0.2", "10.0.0.3", "203.0.113.5", "172.32.0.1", "2001:db8::5"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!granted_from("198.51.100.7", "berlin", good[i])) fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (granted_from("198.51.100.7", "berlin", bad[i])) fail_msg("%s was granted", bad[i]);
    assert_true(granted_from("198.51.100.7", "berlin", "198.51.100.7")); /* that it comes from */
    assert_false(bears("shanghai.img.acme.example") || bears("registry.img.acme.example"));
    assert_true(bears("mirror.acme.example"));
}

static void a_configuration_that_was_read_again_counts(void **state) {
    (void)state;
    static const char *const less[] = {"registry.names=[new.acme.example]"};
    configure(less, 1);
    assert_true(granted("10.1.3.5") && granted("new.acme.example"));
    assert_false(granted("mirror.acme.example"));
}

static void names_without_bound_fill_the_certificate_and_no_more(void **state) {
    (void)state;
    char sets[2][40000] = {"registry.names=[", "sites=[{name: shanghai}"};
    for (unsigned i = 0; i < 300; i++)
        snprintf(sets[0] + strlen(sets[0]), 64, "%sn%u.example", i ? ", " : "", i);
    for (unsigned i = 0; i < 300; i++)
        snprintf(sets[1] + strlen(sets[1]), 64, ", {name: s%u, neighbours: [shanghai]}", i);
    strcat(sets[0], "]");
    strcat(sets[1], "]");
    configure((const char *const[]){sets[0], sets[1]}, 2);
    assert_false(granted("n299.example"));
    assert_int_equal(grant->n, CERT_NAMES_MAX);
}

static void central_s_own_names_cover_its_zone(void **state) {
    (void)state;
    cert_names_of_central(names, grant);
    assert_true(bears("registry.acme.example") && bears("10.0.0.1") && bears("*.img.acme.example"));
}

static void a_site_that_is_not_configured_is_told_with_the_nearest(void **state) {
    (void)state;
    char near[64];
    assert_true(cert_names_knows_site(names, "shanghai", near, sizeof(near)));
    assert_false(cert_names_knows_site(names, "shangai", near, sizeof(near)));
    assert_string_equal(near, "shanghai");
    assert_false(cert_names_knows_site(names, "rio-de-janeiro", near, sizeof(near)));
    assert_string_equal(near, "");
    configure((const char *const[]){"sites=[]"}, 1);
    assert_true(cert_names_knows_site(names, "rio-de-janeiro", near, sizeof(near)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_edge_need_not_ask_for_the_registrys_names_and_its_sites, setup, teardown),
        cmocka_unit_test_setup_teardown(a_neighbours_names_are_not_given_the_other_way_round, setup, teardown),
        cmocka_unit_test_setup_teardown(an_edge_gets_what_is_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(an_edge_is_refused_what_is_another_s, setup, teardown),
        cmocka_unit_test_setup_teardown(a_site_without_networks_has_private_addresses_but_not_those_of_others, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_configuration_that_was_read_again_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(names_without_bound_fill_the_certificate_and_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(central_s_own_names_cover_its_zone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_site_that_is_not_configured_is_told_with_the_nearest, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
