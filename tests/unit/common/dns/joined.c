/* Which of the edges that have joined get a place in the zone, and what of them outlives a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "central/dns/saved.h"
#include "common/core/file.h"
#include "tests/unit/support/dns_fixture.h"

static struct dns_joined_list joined;
static struct node_config *node;
static struct dns_zone *zone;

/* central: the value of dns.central. */
static void begin(const char *central) {
    char address[100];
    snprintf(address, sizeof(address), "dns.central=%s", central);
    const char *const sets[] = {"dns.zone=img.acme.example", address, DNS_FIXTURE_SITES,
                                "dns.records=[{name: taken.suzhou, value: 10.0.0.9}]"};
    struct config_source src = {.sets = sets, .n_sets = ARRAY_LEN(sets), .default_file = "/nonexistent"};
    struct error err = {0};
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    if (central_config_load(&src, &node, &err) < 0) fail_msg("%s", err.msg);
    dns_joined_init(&joined);
    zone = NULL;
}

static void end(void) {
    dns_zone_free(zone);
    dns_joined_fini(&joined);
    central_config_free(node);
}

static struct dns_joined *join(const char *site, const char *name, const char *four, const char *six) {
    struct ip ip[DNS_FAMILIES] = {0};
    struct dns_joined *j;
    if (four) assert_true(ip_parse(&ip[0], four, strlen(four)));
    if (six) assert_true(ip_parse(&ip[1], six, strlen(six)));
    assert_true(dns_joined_put(&joined, site, name, ip, 0, &j));
    return j;
}

static void make(void) {
    struct error err = {0};
    const struct central_config *c = (const struct central_config *)(const void *)node;
    struct dns_zone_parts parts = {.dns = &c->dns, .sites = c->sites, .n_sites = c->n_sites};
    struct dns_joined **list = dns_joined_sorted(&joined, &parts.n_joined);
    parts.joined = list;
    dns_zone_free(zone);
    if (dns_zone_new(&zone, &parts, &err) < 0) fail_msg("%s", err.msg);
    free(list);
}

static const struct dns_target *target(const char *site, const char *name) {
    for (size_t i = 0; i < zone->n_edges; i++)
        if (strcmp(zone->edges[i].name, name) == 0 && strcmp(zone->edges[i].site, site) == 0) return &zone->edges[i];
    return NULL;
}

static bool is_at(const struct dns_target *t, const char *address) {
    struct ip ip;
    return t && ip_parse(&ip, address, strlen(address)) && memcmp(&t->ip[0], &ip, sizeof(ip)) == 0;
}

static void joined_edges_stand_beside_the_configured_ones_of_their_site(void **state) {
    (void)state;
    begin("[10.0.0.1]");
    join("suzhou", "suzhou-2", "10.1.3.2", NULL);
    join("suzhou", "suzhou-1", "10.1.3.9", "2001:db8::9");
    join("EMPTY", "empty-1", "10.2.0.1", NULL); /* names of sites are names of the DNS */
    join("shanghai", "A", "10.9.9.9", NULL);    /* a is configured */
    make();
    assert_int_equal(zone->n_edges, 4 + 3);
    assert_int_equal(zone->n_left_out, 0);
    assert_int_equal(zone->sites[1].n_edges, 3);
    assert_true(is_at(&zone->edges[zone->sites[1].first], "10.1.3.1")); /* the configured one */
    assert_true(is_at(target("suzhou", "suzhou-1"), "10.1.3.9") && target("suzhou", "suzhou-1")->joined);
    assert_int_equal(target("suzhou", "suzhou-1")->weight, 1);
    assert_true(is_at(target("empty", "empty-1"), "10.2.0.1"));
    assert_true(is_at(target("shanghai", "a"), "10.1.0.1") && !target("shanghai", "a")->joined);
    struct dns_name name;
    assert_true(dns_name_parse(&name, "suzhou-2.suzhou"));
    const struct dns_node *n = dns_zone_find(zone, name.wire, (size_t)name.len - 1);
    assert_non_null(n);
    assert_int_equal(n->n_sets, 1);
    end();
}

static void what_cannot_be_named_is_left_out_with_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *site, *name, *four, *six, *why;
    } cases[] = {
        {"berlin", "berlin-1", "10.8.0.1", NULL, "not among the key sites"},
        {"suzhou", "a.b", "10.1.3.2", NULL, "has a dot"},
        {"suzhou", "lo", "127.0.0.1", NULL, "set the key address"},
        {"suzhou", "any", "0.0.0.0", NULL, "set the key address"},
        {"suzhou", "many", "224.0.0.1", NULL, "set the key address"},
        {"suzhou", "near", "169.254.1.1", NULL, "set the key address"},
        {"suzhou", "six", NULL, "2001:db8::1", "no IPv4 address"},
        {"suzhou", "none", NULL, NULL, "no IPv4 address"},
        {"suzhou", "near6", "10.1.3.2", "fe80::1", "set the key address"},
        {"suzhou", "taken", "10.1.3.2", NULL, "has its name"},
    };
    begin("[10.0.0.1]");
    struct dns_joined *all[ARRAY_LEN(cases)];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        all[i] = join(cases[i].site, cases[i].name, cases[i].four, cases[i].six);
    make();
    assert_int_equal(zone->n_edges, 4);
    assert_int_equal(zone->n_left_out, ARRAY_LEN(cases));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (!all[i]->why || !strstr(all[i]->why, cases[i].why)) fail_msg("row %zu: %s", i, all[i]->why);
    end();
}

/* A type of address is answered for all sites or for none: one edge must not take it from the others. */
static void an_edge_without_a_type_that_all_others_have_is_left_out(void **state) {
    (void)state;
    static const char *const sets[] = {"dns.zone=z.example", "dns.central=[10.0.0.1, \"2001:db8::1\"]",
                                       "sites=[{name: s, networks: [10.1.0.0/16]}]"};
    struct config_source src = {.sets = sets, .n_sets = ARRAY_LEN(sets), .default_file = "/nonexistent"};
    struct error err = {0};
    assert_int_equal(central_config_load(&src, &node, &err), 0);
    dns_joined_init(&joined);
    zone = NULL;
    const struct dns_joined *four = join("s", "four", "10.1.0.1", NULL);
    join("s", "both", "10.1.0.2", "2001:db8::2");
    make();
    assert_int_equal(zone->n_edges, 1);
    assert_true(zone->has[0] && zone->has[1]);
    assert_non_null(strstr(four->why, "no IPv6 address"));
    end();
}

static void a_site_has_only_so_many(void **state) {
    (void)state;
    begin("[10.0.0.1]");
    for (unsigned i = 0; i < SITE_EDGES_MAX + 5; i++) {
        char name[20], address[20];
        snprintf(name, sizeof(name), "e-%u", i);
        snprintf(address, sizeof(address), "10.2.0.%u", i + 1);
        join("empty", name, address, NULL);
    }
    make();
    assert_int_equal(zone->sites[2].n_edges, SITE_EDGES_MAX);
    assert_int_equal(zone->n_left_out, 5);
    end();
}

static bool is_not_two(const struct dns_joined *j, void *arg) {
    (void)arg;
    return strcmp(j->name, "suzhou-2") != 0;
}

static void an_edge_that_is_gone_is_dropped_and_one_that_moved_is_noticed(void **state) {
    (void)state;
    begin("[10.0.0.1]");
    struct dns_joined *one = join("suzhou", "suzhou-1", "10.1.3.2", NULL), *again;
    join("suzhou", "suzhou-2", "10.1.3.3", NULL);
    assert_false(dns_joined_put(&joined, "suzhou", "suzhou-1", one->ip, 0, &again));
    assert_ptr_equal(one, again);
    assert_ptr_equal(join("suzhou", "suzhou-1", "10.1.3.4", NULL), one);
    assert_true(dns_joined_keep(&joined, is_not_two, NULL));
    assert_false(dns_joined_keep(&joined, is_not_two, NULL));
    make();
    assert_int_equal(zone->n_edges, 5);
    assert_true(is_at(target("suzhou", "suzhou-1"), "10.1.3.4"));
    end();
}

static bool is_not_removed(const char *site, const char *edge, void *arg) {
    (void)site, (void)arg;
    return strcmp(edge, "suzhou-2") != 0;
}

static void what_was_named_is_restored_with_its_addresses(void **state) {
    (void)state;
    static const char path[] = "/tmp/entrepot-dns-saved-test";
    begin("[10.0.0.1]");
    join("suzhou", "suzhou-1", "10.1.3.2", "2001:db8::9");
    join("suzhou", "suzhou-2", "10.1.3.3", NULL);
    make();
    struct dns_view *v = dns_fixture_view(zone, 1); /* all but the first are well */
    struct dns_health *h = dns_health_new(zone, &(struct dns_health_config){.silent_ms = 3000, .load_max = 90});
    const struct dns_report r = {.heard_ms = 1000, .port_open = true};
    for (size_t i = 1; i < zone->n_edges; i++)
        dns_health_report(h, i, &r);
    (void)dns_health_decide(h, 1000);
    struct buf text;
    struct error err = {0};
    buf_init(&text, 0);
    dns_saved_write(zone, h, &text);
    assert_non_null(strstr(text.data, "suzhou suzhou-1 10.1.3.2 2001:db8::9\n"));
    assert_non_null(strstr(text.data, "suzhou suzhou-2 10.1.3.3 -\n"));
    assert_non_null(strstr(text.data, "suzhou a\n"));
    assert_int_equal(file_write_atomic(path, 0600, text.data, text.len, &err), 0);
    buf_fini(&text);
    dns_view_free(v);
    dns_health_free(h);
    dns_joined_fini(&joined);
    dns_joined_init(&joined);
    dns_saved_joined(path, &joined, is_not_removed, NULL);
    make();
    assert_int_equal(zone->n_edges, 5);
    assert_true(is_at(target("suzhou", "suzhou-1"), "10.1.3.2"));
    h = dns_health_new(zone, &(struct dns_health_config){.silent_ms = 3000, .load_max = 90});
    dns_saved_read(path, zone, h, 5000);
    assert_int_equal(dns_health_state(h, (size_t)(target("suzhou", "suzhou-1") - zone->edges)), DNS_EDGE_GOOD);
    assert_int_equal(dns_health_state(h, (size_t)(target("suzhou", "a") - zone->edges)), DNS_EDGE_GOOD);
    assert_int_equal(dns_health_state(h, 0), DNS_EDGE_UNKNOWN);
    dns_health_free(h);
    unlink(path);
    end();
}

/* Otherwise one edge makes all others fetch the zone every second. */
static void an_edge_that_moves_on_and_on_is_not_followed(void **state) {
    (void)state;
    struct ip here[DNS_FAMILIES] = {0}, there[DNS_FAMILIES] = {0};
    struct dns_joined *j;
    unsigned changes = 0;
    begin("[10.0.0.1]");
    assert_true(ip_parse(&here[0], "10.1.3.2", strlen("10.1.3.2")) &&
                ip_parse(&there[0], "10.1.3.3", strlen("10.1.3.3")));
    for (int64_t ms = 0; ms < 10 * DNS_MOVE_MS; ms += 1000)
        changes += dns_joined_put(&joined, "suzhou", "suzhou-1", ms / 1000 % 2 ? there : here, ms, &j);
    assert_in_range(changes, 10, DNS_MOVES + 10);
    assert_true(dns_joined_is_at(j, here) != dns_joined_is_at(j, there));
    bool was_here = dns_joined_is_at(j, here);
    assert_true(dns_joined_put(&joined, "suzhou", "suzhou-1", was_here ? there : here, 30 * DNS_MOVE_MS, &j));
    assert_true(dns_joined_is_at(j, was_here ? there : here)); /* after a while it may move again */
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined_edges_stand_beside_the_configured_ones_of_their_site),
        cmocka_unit_test(what_cannot_be_named_is_left_out_with_the_reason),
        cmocka_unit_test(an_edge_without_a_type_that_all_others_have_is_left_out),
        cmocka_unit_test(a_site_has_only_so_many),
        cmocka_unit_test(an_edge_that_is_gone_is_dropped_and_one_that_moved_is_noticed),
        cmocka_unit_test(what_was_named_is_restored_with_its_addresses),
        cmocka_unit_test(an_edge_that_moves_on_and_on_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
