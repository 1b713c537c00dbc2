/* An edge's report and central's answer to it, from anyone: what is taken is within bounds and can be written again. */
#include "common/wire/edge_report.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct wire_heartbeat *h) {
    assert(h->load <= 100 && h->registry_port <= 65535 && h->n_addresses <= WIRE_EDGE_ADDRESSES);
    assert(h->disk_held >= 0 && h->disk_limit >= 0 && h->disk_free >= 0 && h->blobs >= 0);
    assert(h->hits >= 0 && h->misses >= 0 && h->sent_bytes >= 0 && h->fetched_bytes >= 0);
    assert(h->replica_heard_ms >= -1);
}

static void same_digests(const struct wire_digests *a, const struct wire_digests *b) {
    assert(a->n == b->n && (a->n == 0 || memcmp(a->bytes, b->bytes, a->n * WIRE_HELD_DIGEST) == 0));
}

static void same_holdings(const struct wire_holdings *a, const struct wire_holdings *b) {
    assert(!a == !b);
    if (!a) return;
    same_digests(&a->gained, &b->gained);
    same_digests(&a->lost, &b->lost);
    assert(!a->tiles == !b->tiles && a->n_whole == b->n_whole);
    for (size_t i = 0; i < a->n_whole; i++) {
        assert(a->whole[i].tile == b->whole[i].tile && a->whole[i].tile < WIRE_HELD_TILES);
        same_digests(&a->whole[i].held, &b->whole[i].held);
    }
}

static void same_pulls(const struct wire_pulls *a, const struct wire_pulls *b) {
    assert(!a == !b);
    if (!a) return;
    assert(a->n == b->n && a->n <= WIRE_PULL_NAMES && a->other == b->other && a->sequence == b->sequence);
    for (size_t i = 0; i < a->n; i++) {
        assert(strcmp(a->counts[i].repository, b->counts[i].repository) == 0 && a->counts[i].repository[0]);
        assert(strcmp(a->counts[i].tag, b->counts[i].tag) == 0 && a->counts[i].tag[0]);
        assert(a->counts[i].count == b->counts[i].count && a->counts[i].count <= WIRE_PULLS_MAX);
    }
}

static void try_report(const uint8_t *data, size_t size) {
    struct wire_report m, again;
    uint8_t *out;
    size_t len;
    if (wire_report_decode(&m, data, size) < 0) {
        wire_report_fini(&m);
        return;
    }
    if (m.has_heartbeat) check(&m.heartbeat);
    assert(wire_report_encode(&m, &out, &len) == 0);
    assert(wire_report_decode(&again, out, len) == 0 && again.has_heartbeat == m.has_heartbeat);
    assert(again.heartbeat.n_addresses == m.heartbeat.n_addresses && again.heartbeat.blobs == m.heartbeat.blobs &&
           again.heartbeat.replica_heard_ms == m.heartbeat.replica_heard_ms);
    same_holdings(m.holdings, again.holdings);
    same_pulls(m.pulls, again.pulls);
    wire_report_fini(&m);
    wire_report_fini(&again);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct wire_report_response rs;
    uint8_t *out;
    size_t len;
    try_report(data, size);
    if (wire_report_response_decode(&rs, data, size) < 0) return 0;
    for (size_t i = 0; i < rs.n_wanted; i++)
        assert(rs.wanted[i] < WIRE_HELD_TILES);
    assert(rs.heartbeat_ms >= 0 && rs.n_wanted <= WIRE_HELD_TILES && wire_report_response_encode(&rs, &out, &len) == 0);
    free(out);
    return 0;
}
