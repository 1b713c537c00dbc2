/* A zone with sites and edges that are well, for tests of the DNS. Thread: the test's. */
#ifndef ENTREPOT_TESTS_DNS_FIXTURE_H
#define ENTREPOT_TESTS_DNS_FIXTURE_H

#include <stdio.h>

#include "central/config/central_config.h"
#include "common/dns/view.h"
#include "common/dns/zone_message.h"
#include "common/core/log.h"

#define DNS_FIXTURE_SITES                                                                                         \
    "sites=[{name: shanghai, networks: [10.1.0.0/16, \"2001:db8:1::/48\"], neighbours: [suzhou],"                 \
    "        edges: [{name: a, address: 10.1.0.1}, {name: b, address: 10.1.0.2}, {name: c, address: 10.1.0.3}]}," \
    "       {name: suzhou, networks: [10.1.3.0/24], edges: [{name: a, address: 10.1.3.1}]},"                      \
    "       {name: empty, networks: [10.2.0.0/16], neighbours: [nowhere, suzhou]}]"
#define DNS_FIXTURE_RECORDS                                                               \
    "dns.records=[{name: www, value: 10.0.0.9}, {name: www, type: AAAA, value: \"::9\"}," \
    "             {name: deep.below, type: TXT, value: hello}, {name: alias, type: CNAME, value: registry}]"

/* sets: --set arguments, NULL-ended. Central is 10.0.0.1. NULL: it is refused, and *err says why. */
static inline struct dns_zone *dns_fixture_zone(const char *const *sets, struct error *err) {
    struct config_source src = {.sets = sets, .default_file = "/nonexistent"};
    struct node_config *node;
    struct dns_zone *z = NULL;
    while (sets[src.n_sets])
        src.n_sets++;
    if (central_config_load(&src, &node, err) < 0) return NULL;
    const struct central_config *c = (const struct central_config *)(const void *)node;
    const struct dns_zone_parts parts = {.dns = &c->dns, .sites = c->sites, .n_sites = c->n_sites};
    if (dns_zone_new(&z, &parts, err) < 0) z = NULL;
    central_config_free(node);
    return z;
}

static inline struct dns_zone *dns_fixture_usual(void) {
    static const char *const sets[] = {"dns.zone=img.acme.example", "dns.central=[10.0.0.1]", DNS_FIXTURE_SITES,
                                       DNS_FIXTURE_RECORDS, NULL};
    struct error err = {0};
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    struct dns_zone *z = dns_fixture_zone(sets, &err);
    if (!z) fprintf(stderr, "%s\n", err.msg);
    return z;
}

/* The same zone as central tells it to an edge; the caller frees it. NULL: it is refused. */
static inline uint8_t *dns_fixture_message(const char *const *sets, unsigned registry_port, size_t *len) {
    struct config_source src = {.sets = sets, .default_file = "/nonexistent"};
    struct node_config *node;
    struct dns_zone *z = NULL;
    struct error err = {0};
    uint8_t *message = NULL;
    while (sets[src.n_sets])
        src.n_sets++;
    if (central_config_load(&src, &node, &err) < 0) return NULL;
    const struct central_config *c = (const struct central_config *)(const void *)node;
    const struct dns_cookies cookies = {.keys = {{1, 2}}, .n = 1};
    const struct dns_zone_parts parts = {.dns = &c->dns, .sites = c->sites, .n_sites = c->n_sites, .cookies = &cookies};
    if (dns_zone_new(&z, &parts, &err) < 0 ||
        dns_zone_message_encode(z, &parts, registry_port, 3000, &message, len) < 0)
        message = NULL;
    dns_zone_free(z);
    central_config_free(node);
    return message;
}

/* Every edge whose bit in silent is not set is well. */
static inline struct dns_view *dns_fixture_view(const struct dns_zone *z, unsigned silent) {
    const struct dns_health_config c = {.silent_ms = 3000, .load_max = 90};
    struct dns_health *h = dns_health_new(z, &c);
    const struct dns_report r = {.heard_ms = 1000, .port_open = true};
    for (size_t i = 0; i < z->n_edges; i++)
        if (i >= 32 || !(silent & 1u << i)) dns_health_report(h, i, &r);
    (void)dns_health_decide(h, 1000);
    uint8_t *states = dns_health_states(h);
    struct dns_view *v = dns_view_new(z, states, dns_health_kept_since(h), 7);
    free(states);
    dns_health_free(h);
    return v;
}

#endif
