/* An edge's report and central's answer to it, from anyone: what is taken is within bounds and can be written again. */
#include "common/wire/edge_report.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct wire_heartbeat *h) {
    assert(h->load <= 100 && h->registry_port <= 65535 && h->n_addresses <= WIRE_EDGE_ADDRESSES);
    assert(h->disk_held >= 0 && h->disk_limit >= 0 && h->disk_free >= 0 && h->blobs >= 0);
    assert(h->hits >= 0 && h->misses >= 0 && h->sent_bytes >= 0 && h->fetched_bytes >= 0);
    assert(h->replica_heard_ms >= -1);
}

static void try_report(const uint8_t *data, size_t size) {
    struct wire_report m, again;
    uint8_t *out;
    size_t len;
    if (wire_report_decode(&m, data, size) < 0) return;
    if (m.has_heartbeat) check(&m.heartbeat);
    assert(wire_report_encode(&m, &out, &len) == 0);
    assert(wire_report_decode(&again, out, len) == 0 && again.has_heartbeat == m.has_heartbeat);
    assert(again.heartbeat.n_addresses == m.heartbeat.n_addresses && again.heartbeat.blobs == m.heartbeat.blobs &&
           again.heartbeat.replica_heard_ms == m.heartbeat.replica_heard_ms);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct wire_report_response rs;
    uint8_t *out;
    size_t len;
    try_report(data, size);
    if (wire_report_response_decode(&rs, data, size) < 0) return 0;
    assert(rs.heartbeat_ms >= 0 && wire_report_response_encode(&rs, &out, &len) == 0);
    free(out);
    return 0;
}
