/* The messages by which an edge reports to central (proto/report.proto), as plain values. Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_EDGE_REPORT_H
#define ENTREPOT_WIRE_EDGE_REPORT_H

#include "common/core/error.h"
#include "common/core/network.h"

#define WIRE_REPORT_PATH "/fleet/v1/report"
#define WIRE_MAX_REPORT ((size_t)(64 * KiB))
#define WIRE_EDGE_ADDRESSES 4 /* of one edge; further ones are left out */

struct wire_heartbeat {
    unsigned load;                            /* percent, at most 100 */
    bool uplink_full;                         /* reports may come late */
    int64_t disk_held, disk_limit, disk_free; /* bytes */
    int64_t blobs;                            /* held */
    bool replica_equal;                       /* to central's catalogue */
    uint64_t replica_number;                  /* of the last change in it */
    int64_t replica_heard_ms; /* milliseconds since the stream of changes was last heard; -1: it never was */
    struct ip addresses[WIRE_EDGE_ADDRESSES]; /* that clients reach it by */
    size_t n_addresses;
    unsigned registry_port;
    int64_t hits, misses;              /* since its start */
    int64_t sent_bytes, fetched_bytes; /* since its start, of content: to clients, and from its sources */
};
struct wire_report {
    uint32_t version;
    bool has_heartbeat;
    struct wire_heartbeat heartbeat;
};
struct wire_report_response {
    uint32_t version;
    int64_t heartbeat_ms; /* until the next report; 0: not said */
};

/* Encoders. *out is malloc'ed; the caller frees it. ERR_TOO_BIG. */
int wire_report_encode(const struct wire_report *m, uint8_t **out, size_t *len) must_check;
int wire_report_response_encode(const struct wire_report_response *m, uint8_t **out, size_t *len) must_check;
/* Decoders. ERR_INVALID: not this message, or out of bounds. ERR_TOO_BIG. ERR_UNSUPPORTED: unknown version. */
int wire_report_decode(struct wire_report *m, const void *data, size_t len) must_check;
int wire_report_response_decode(struct wire_report_response *m, const void *data, size_t len) must_check;

#endif
