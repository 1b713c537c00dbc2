/* The states of central's upstreams, as an edge's doctor asks for them (GET /fleet/v1/upstreams; docs/protocol.md "Edge
 * to central"). Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_UPSTREAMS_H
#define ENTREPOT_WIRE_UPSTREAMS_H

#include "common/core/error.h"
#include "common/oci/name.h"

#define WIRE_UPSTREAMS_PATH "/fleet/v1/upstreams"
#define WIRE_MAX_UPSTREAMS ((size_t)(256 * KiB))

struct wire_upstream_state {
    char name[HOST_MAX + 1];
    bool reachable;
    char last_error[256]; /* "" when all is well */
    int64_t requests;     /* since central's start, doctor's probes included */
    int64_t rate_limit;   /* -1: not known */
    int64_t rate_remaining;
    int64_t wait_s; /* seconds until it may be asked for a pull again; 0: now */
};

/* Encodes. *out is malloc'ed; the caller frees it. ERR_TOO_BIG. */
int wire_upstreams_encode(const struct wire_upstream_state *states, size_t n, uint8_t **out, size_t *len) must_check;
/* Decodes. *states is malloc'ed; the caller frees it. ERR_INVALID, ERR_TOO_BIG, ERR_UNSUPPORTED (unknown version). */
int wire_upstreams_decode(const void *data, size_t len, struct wire_upstream_state **states, size_t *n) must_check;

#endif
