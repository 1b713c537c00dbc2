/* A zone as central tells it, and what an edge keeps of it, from anyone: a zone that can be built can be told again, and
 * then is the same, and it answers. */
#include "common/dns/answer.h"
#include "common/dns/zone_message.h"
#include "edge/dns/kept.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct dns_zone *z) {
    static const uint8_t query[] = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8, 'r', 'e', 'g', 'i', 's', 't', 'r', 'y'};
    static struct dns_tally tally;
    uint8_t in[DNS_HEADER + DNS_NAME_MAX + 20], out[DNS_TCP_MAX], *states = calloc(z->n_edges + 1, 1);
    struct dns_context c = {.tally = &tally};
    const struct ip from = {.bytes = {[10] = 0xff, [11] = 0xff, 10, 1, 0, 1}};
    memset(states, DNS_EDGE_GOOD, z->n_edges);
    struct dns_view *v = dns_view_new(z, states, 0, 1);
    memcpy(in, query, sizeof(query));
    memcpy(in + sizeof(query), z->name.wire, z->name.len);
    size_t len = sizeof(query) + z->name.len;
    memcpy(in + len, "\0\1\0\1", 4);
    assert(dns_answer(&c, v, &from, true, in, len + 4, out, sizeof(out)) > DNS_HEADER);
    dns_view_free(v);
    free(states);
}

static void try_zone(const uint8_t *data, size_t size) {
    struct dns_zone_message m, again;
    struct dns_zone *z = NULL, *same = NULL;
    struct error err = {0};
    uint8_t *out;
    size_t len;
    if (dns_zone_message_decode(&m, data, size) == 0 && dns_zone_message_build(&m, &z, &err) == 0) {
        const struct dns_zone_parts parts = {.dns = &m.dns, .sites = m.sites, .n_sites = m.n_sites};
        ask(z);
        if (dns_zone_message_encode(z, &parts, m.registry_port, m.silent_ms, &out, &len) == 0) {
            assert(dns_zone_message_decode(&again, out, len) == 0);
            assert(dns_zone_message_build(&again, &same, &err) == 0);
            assert(same->n_edges == z->n_edges && same->n_sites == z->n_sites && same->n_nodes == z->n_nodes);
            dns_zone_message_fini(&again);
            free(out);
        }
    }
    dns_zone_free(z);
    dns_zone_free(same);
    dns_zone_message_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dns_kept k;
    if (dns_kept_decode(&k, data, size) == 0) try_zone(k.zone, k.zone_len);
    dns_kept_fini(&k);
    try_zone(data, size);
    return 0;
}
