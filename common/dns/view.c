/* Builds a view, and picks an edge for a client. Thread: as view.h says. */
#include "common/dns/view.h"

#include "common/dns/dns_query.h"
#include "common/core/alloc.h"

#include <math.h>
#include <string.h>

/* --- building --- */

static uint32_t named_of(const struct dns_view *v, uint32_t site, uint32_t *out) {
    const struct dns_site *s = &v->zone->sites[site];
    uint32_t n = 0;
    for (uint32_t e = s->first; e < s->first + s->n_edges; e++)
        if (dns_state_named(v->states[e])) out[n++] = e;
    return n;
}

static bool weights_differ(const struct dns_zone *z, const uint32_t *edges, uint32_t n) {
    for (uint32_t i = 1; i < n; i++)
        if (z->edges[edges[i]].weight != z->edges[edges[0]].weight) return true;
    return false;
}

/* Candidates of each site stand in candidates once; a site whose neighbours answer for it refers to theirs. */
static void choices_make(struct dns_view *v) {
    const struct dns_zone *z = v->zone;
    uint32_t at = 0;
    for (uint32_t i = 0; i < z->n_sites; i++) {
        uint32_t n = named_of(v, i, v->candidates + at);
        v->choices[i] = (struct dns_choice){.from = n ? DNS_FROM_SITE : DNS_FROM_CENTRAL,
                                            .weighted = weights_differ(z, v->candidates + at, n),
                                            .n = (uint16_t)n,
                                            .site = i,
                                            .first = n == 1 ? v->candidates[at] : at,
                                            .slot = z->sites[i].slot};
        at += n;
    }
    for (uint32_t i = 0; i < z->n_sites; i++) {
        const struct dns_site *s = &z->sites[i];
        for (uint32_t j = 0; j < s->n_neighbours && v->choices[i].from == DNS_FROM_CENTRAL; j++) {
            const struct dns_choice *c = &v->choices[s->neighbours[j]];
            if (c->from != DNS_FROM_SITE) continue;
            v->choices[i] = *c;
            v->choices[i].from = DNS_FROM_NEIGHBOUR;
            v->choices[i].slot = s->slot;
        }
    }
}

struct dns_view *dns_view_new(const struct dns_zone *zone, const uint8_t *states, int64_t kept_since_ms,
                              uint32_t serial) {
    struct dns_view *v = xcalloc(1, sizeof(*v));
    v->zone = zone;
    v->serial = serial;
    v->soa = zone->soa;
    dns_put32(v->soa.wire + v->soa.serial_at, serial);
    v->choices = xcalloc(zone->n_sites + 1, sizeof(*v->choices));
    v->candidates = xcalloc(zone->n_edges + 1, sizeof(*v->candidates));
    v->states = xcalloc(zone->n_edges + 1, sizeof(*v->states));
    v->kept_since_ms = kept_since_ms;
    if (zone->n_edges) memcpy(v->states, states, zone->n_edges);
    choices_make(v);
    return v;
}

void dns_view_free(struct dns_view *v) {
    if (!v) return;
    free(v->choices);
    free(v->candidates);
    free(v->states);
    free(v);
}

/* --- choosing --- */

uint64_t dns_subnet_key(const struct ip *ip, unsigned bits) {
    uint64_t high, low;
    bool four = ip_is_v4(ip);
    memcpy(&high, ip->bytes + (four ? 12 : 0), 4);
    high = be32toh((uint32_t)high);
    if (four) return dns_mix((bits ? high >> (32 - bits) << (32 - bits) : 0) + 1);
    memcpy(&high, ip->bytes, 8);
    memcpy(&low, ip->bytes + 8, 8);
    high = be64toh(high);
    low = be64toh(low);
    if (bits < 64) high = bits ? high >> (64 - bits) << (64 - bits) : 0;
    low = bits <= 64 ? 0 : low >> (128 - bits) << (128 - bits);
    return dns_mix(high ^ dns_mix(low + 1));
}

/* The higher, the better. Equal weights need no logarithm. */
static double score_of(const struct dns_target *t, uint64_t key, bool weighted) {
    double x = ((double)(dns_mix(key ^ t->seed) >> 11) + 0.5) * 0x1p-53;
    return weighted ? (double)t->weight / -log(x) : x;
}

size_t dns_view_pick(const struct dns_view *v, const struct dns_choice *c, uint64_t key, size_t n,
                     const struct dns_target *out[]) {
    double best = -1, next = -1;
    const struct dns_target *first = NULL, *second = NULL;
    if (c->from == DNS_FROM_CENTRAL || c->n == 0) {
        out[0] = &v->zone->central;
        return 1;
    }
    if (c->n == 1) {
        out[0] = &v->zone->edges[c->first];
        return 1;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        const struct dns_target *t = &v->zone->edges[v->candidates[c->first + i]];
        double score = score_of(t, key, c->weighted);
        if (score > best) {
            second = first;
            next = best;
            first = t;
            best = score;
        } else if (score > next) {
            second = t;
            next = score;
        }
    }
    out[0] = first;
    if (n < 2 || !second) return 1;
    out[1] = second;
    return 2;
}
