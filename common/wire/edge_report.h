/* The messages by which an edge reports to central (proto/report.proto), as plain values. Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_EDGE_REPORT_H
#define ENTREPOT_WIRE_EDGE_REPORT_H

#include "common/core/error.h"
#include "common/core/network.h"
#include "common/oci/name.h"

#define WIRE_REPORT_PATH "/fleet/v1/report"
#define WIRE_MAX_REPORT ((size_t)(64 * KiB))
#define WIRE_EDGE_ADDRESSES 4 /* of one edge; further ones are left out */

struct wire_heartbeat {
    unsigned load;                            /* percent, at most 100 */
    bool uplink_full;                         /* or long: reports may come late */
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

/* What an edge holds, of blobs named by sha256 (common/records/holding_tiles.h). */
#define WIRE_HELD_DIGEST 32 /* bytes of a digest */
#define WIRE_HELD_SUM 16
#define WIRE_HELD_TILES 1024u
struct wire_digests {
    uint8_t *bytes; /* of n digests */
    size_t n;
};
struct wire_held_tile {
    unsigned tile;
    struct wire_digests held; /* all of that tile */
};
struct wire_holdings {
    uint8_t digest[WIRE_HELD_SUM]; /* of all that is held once the rest is taken */
    struct wire_digests gained, lost;
    uint64_t *tiles; /* NULL, or the lower half of the digest of each of WIRE_HELD_TILES */
    struct wire_held_tile *whole;
    size_t n_whole;
};

/* A batch of pulls by repository and tag. */
#define WIRE_PULL_NAMES 1000 /* in one batch */
#define WIRE_PULLS_MAX (1LL << 48)
#define WIRE_PULLS_EPOCH 16
struct wire_pull {
    char repository[REPO_STR_MAX]; /* canonical */
    char tag[TAG_MAX + 1];
    uint64_t count; /* from 1 to WIRE_PULLS_MAX */
};
struct wire_pulls {
    uint8_t epoch[WIRE_PULLS_EPOCH];
    uint64_t sequence; /* from 1; below 2^62 */
    struct wire_pull *counts;
    size_t n;
    uint64_t other; /* of names that are not told apart; the decoder adds what names nothing */
};

/* The decoder makes holdings and pulls, and wire_report_fini frees them. */
struct wire_report {
    uint32_t version;
    bool has_heartbeat;
    struct wire_heartbeat heartbeat;
    struct wire_holdings *holdings; /* NULL: not told */
    struct wire_pulls *pulls;       /* NULL: none */
};

/* NOT_TAKEN: what was told of holdings was left alone. DIFFER: what central knows now has another digest. */
enum wire_holdings_state { WIRE_HOLDINGS_NOT_TAKEN, WIRE_HOLDINGS_EQUAL, WIRE_HOLDINGS_DIFFER };
struct wire_report_response {
    uint32_t version;
    int64_t heartbeat_ms; /* until the next report; 0: not said */
    enum wire_holdings_state holdings;
    uint16_t wanted[WIRE_HELD_TILES]; /* tiles that differ */
    size_t n_wanted;
    uint64_t pulls_taken; /* the last batch of the report's epoch that is counted; 0: none */
};

void wire_report_fini(struct wire_report *m);
/* Frees what it says of holdings. */
void wire_report_drop_holdings(struct wire_report *m);
/* Encoders. *out is malloc'ed; the caller frees it. ERR_TOO_BIG. */
int wire_report_encode(const struct wire_report *m, uint8_t **out, size_t *len) must_check;
int wire_report_response_encode(const struct wire_report_response *m, uint8_t **out, size_t *len) must_check;
/* Decoders. ERR_INVALID: not this message, or out of bounds. ERR_TOO_BIG. ERR_UNSUPPORTED: unknown version. The caller
 * calls wire_report_fini in any case. */
int wire_report_decode(struct wire_report *m, const void *data, size_t len) must_check;
int wire_report_response_decode(struct wire_report_response *m, const void *data, size_t len) must_check;

#endif
