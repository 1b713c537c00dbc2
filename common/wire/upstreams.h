/* How central stands with its upstreams, as an edge's doctor asks it (GET /fleet/v1/upstreams). Pure. Thread: any. */
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
    int64_t requests;     /* and doctor's probes, since central's start */
    int64_t rate_limit;   /* -1: not known */
    int64_t rate_remaining;
    int64_t wait_s; /* until it is asked for a pull again; 0: now */
};

/* *out is malloc'ed and the caller's. ERR_TOO_BIG. */
int wire_upstreams_encode(const struct wire_upstream_state *states, size_t n, uint8_t **out, size_t *len) must_check;
/* *states is malloc'ed and the caller's. ERR_INVALID, ERR_TOO_BIG, ERR_UNSUPPORTED (a version not known). */
int wire_upstreams_decode(const void *data, size_t len, struct wire_upstream_state **states, size_t *n) must_check;

#endif
