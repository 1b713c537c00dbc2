/* A zone that is told gives the answers that the first one gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/core/alloc.h"
#include "common/dns/answer.h"
#include "common/dns/zone_message.h"
#include "proto/dns.pb-c.h"
#include "tests/unit/support/dns_fixture.h"

static const char *const sets[] = {
    "dns.zone=img.acme.example",
    "dns.central=[10.0.0.1]",
    "dns.ttl=20s",
    "dns.answers=2",
    "dns.servers=[{name: ns1, addresses: [10.0.0.1, 10.0.0.2]}, {name: ns.elsewhere.example.}]",
    DNS_FIXTURE_SITES,
    DNS_FIXTURE_RECORDS,
    NULL};
static struct central_config *config;
static struct dns_zone *first;
static struct dns_cookies cookies = {.keys = {{1, 2}, {3, 4}}, .n = 2};
static uint8_t *message;
static size_t message_len;

static struct dns_zone_parts parts(void) {
    return (struct dns_zone_parts){
        .dns = &config->dns, .sites = config->sites, .n_sites = config->n_sites, .cookies = &cookies};
}

static int set_up(void **state) {
    (void)state;
    struct config_source src = {.sets = sets, .n_sets = ARRAY_LEN(sets) - 1, .default_file = "/nonexistent"};
    struct node_config *node;
    struct error err = {0};
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    if (central_config_load(&src, &node, &err) < 0) return -1;
    config = (struct central_config *)(void *)node;
    const struct dns_zone_parts p = parts();
    if (dns_zone_new(&first, &p, &err) < 0) return -1;
    return dns_zone_message_encode(first, &p, 5000, 3000, &message, &message_len);
}

static int tear_down(void **state) {
    (void)state;
    free(message);
    dns_zone_free(first);
    central_config_free(&config->node);
    return 0;
}

static struct dns_zone *told(void) {
    struct dns_zone_message m;
    struct dns_zone *z = NULL;
    struct error err = {0};
    assert_int_equal(dns_zone_message_decode(&m, message, message_len), 0);
    assert_int_equal(m.registry_port, 5000);
    assert_int_equal(m.silent_ms, 3000);
    if (dns_zone_message_build(&m, &z, &err) < 0) fail_msg("%s", err.msg);
    dns_zone_message_fini(&m);
    return z;
}

static size_t ask(const struct dns_zone *z, const char *name, unsigned type, const char *client, uint8_t *out) {
    static struct dns_tally tally;
    struct dns_context c = {.tally = &tally};
    struct dns_view *v = dns_fixture_view(z, 2);
    struct dns_name n;
    struct ip ip;
    uint8_t in[400] = {0, 1, 0, 0, 0, 1};
    assert_true(dns_name_parse_in(&n, name, &z->name) && ip_parse(&ip, client, strlen(client)));
    memcpy(in + DNS_HEADER, n.wire, n.len);
    dns_put16(in + DNS_HEADER + n.len, type);
    dns_put16(in + DNS_HEADER + n.len + 2, DNS_CLASS_IN);
    size_t len = dns_answer(&c, v, &ip, true, in, DNS_HEADER + n.len + 4u, out, DNS_TCP_MAX);
    dns_view_free(v);
    return len;
}

static void a_zone_that_is_told_gives_the_same_answers(void **state) {
    (void)state;
    static const char *const names[] = {"registry", "@",    "shanghai",   "suzhou", "a.shanghai", "central", "ns1",
                                        "www",      "deep", "deep.below", "alias",  "none",       "empty"};
    static const char *const clients[] = {"10.1.0.7", "10.1.77.1", "10.1.3.4", "10.2.0.1", "2001:db8:1::7", "::1"};
    static const unsigned types[] = {DNS_A, DNS_AAAA, DNS_NS, DNS_SOA, DNS_TXT, DNS_ANY};
    uint8_t one[DNS_TCP_MAX], other[DNS_TCP_MAX];
    struct dns_zone *z = told();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t j = 0; j < ARRAY_LEN(clients) * ARRAY_LEN(types); j++) {
            const char *client = clients[j % ARRAY_LEN(clients)];
            unsigned type = types[j / ARRAY_LEN(clients)];
            size_t len = ask(first, names[i], type, client, one);
            assert_int_equal(ask(z, names[i], type, client, other), len);
            assert_memory_equal(one, other, len);
        }
    }
    assert_memory_equal(&z->cookies, &first->cookies, sizeof(z->cookies));
    dns_zone_free(z);
}

static void a_message_that_is_cut_is_refused_or_builds_a_zone(void **state) {
    (void)state;
    for (size_t len = 0; len < message_len; len++) {
        struct dns_zone_message m;
        struct dns_zone *z = NULL;
        struct error err = {0};
        uint8_t *part = xmalloc(len + 1);
        memcpy(part, message, len);
        if (dns_zone_message_decode(&m, part, len) == 0 && dns_zone_message_build(&m, &z, &err) == 0) dns_zone_free(z);
        dns_zone_message_fini(&m);
        free(part);
    }
}

/* The message, with something changed. */
static int with(void (*change)(Entrepot__V1__DnsZone *p)) {
    Entrepot__V1__DnsZone *p = entrepot__v1__dns_zone__unpack(NULL, message_len, message);
    struct dns_zone_message m;
    change(p);
    uint8_t *bytes = xmalloc(entrepot__v1__dns_zone__get_packed_size(p) + 1);
    int r = dns_zone_message_decode(&m, bytes, entrepot__v1__dns_zone__pack(p, bytes));
    dns_zone_message_fini(&m);
    free(bytes);
    entrepot__v1__dns_zone__free_unpacked(p, NULL);
    return r;
}

static void nothing(Entrepot__V1__DnsZone *p) {
    (void)p;
}
static void newer(Entrepot__V1__DnsZone *p) {
    p->version = 99;
}
static void no_ttl(Entrepot__V1__DnsZone *p) {
    p->ttl_s = 0;
}
static void many_answers(Entrepot__V1__DnsZone *p) {
    p->answers = 3;
}
static void no_port(Entrepot__V1__DnsZone *p) {
    p->registry_port = 0;
}
static void short_key(Entrepot__V1__DnsZone *p) {
    p->cookies.len = 15;
}
static void no_address(Entrepot__V1__DnsZone *p) {
    p->sites[0]->edges[0]->addresses[0][0] = 'x';
}
static void no_network(Entrepot__V1__DnsZone *p) {
    p->sites[0]->networks[0][0] = 'x';
}
static void no_weight(Entrepot__V1__DnsZone *p) {
    p->sites[0]->edges[0]->weight = 0;
}
static void dotted(Entrepot__V1__DnsZone *p) {
    p->sites[0]->name[1] = '.';
}
static void other_type(Entrepot__V1__DnsZone *p) {
    p->records[0]->type = DNS_AAAA;
}

static void what_is_out_of_bounds_is_refused(void **state) {
    (void)state;
    void (*const changes[])(Entrepot__V1__DnsZone *) = {no_ttl,     many_answers, no_port, short_key, no_address,
                                                        no_network, no_weight,    dotted,  other_type};
    assert_int_equal(with(nothing), 0);
    assert_int_equal(with(newer), ERR_UNSUPPORTED);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        assert_int_equal(with(changes[i]), ERR_INVALID);
}

static void without_a_zone_queries_are_answered_servfail(void **state) {
    (void)state;
    static struct dns_tally tally;
    struct dns_context c = {.rate = dns_rate_new(0), .tally = &tally};
    static const uint8_t in[] = {7, 8, 0, 0, 0, 1, 0,  0, 0,   0, 0, 1, 1, 'x', 0,
                                 0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0,   0};
    uint8_t out[DNS_UDP_MAX];
    struct ip ip;
    assert_true(ip_parse(&ip, "10.1.0.7", 8));
    assert_int_equal(dns_answer(&c, NULL, &ip, false, in, sizeof(in), out, sizeof(out)), sizeof(in));
    assert_int_equal(out[3] & 15, DNS_SERVFAIL);
    assert_int_equal(tally.counts[DNS_COUNT_NO_ZONE], 1);
    dns_rate_free(c.rate);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zone_that_is_told_gives_the_same_answers),
        cmocka_unit_test(a_message_that_is_cut_is_refused_or_builds_a_zone),
        cmocka_unit_test(what_is_out_of_bounds_is_refused),
        cmocka_unit_test(without_a_zone_queries_are_answered_servfail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
