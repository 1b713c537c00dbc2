/* The messages by which an edge joins and renews its certificate (proto/fleet.proto), as plain values. Pure. Thread:
 * any. */
#ifndef ENTREPOT_WIRE_JOIN_MESSAGE_H
#define ENTREPOT_WIRE_JOIN_MESSAGE_H

#include "common/core/error.h"

#define WIRE_JOIN_PATH "/fleet/v1/join"
#define WIRE_RENEW_PATH "/fleet/v1/renew"
#define WIRE_MAX_JOIN ((size_t)(64 * KiB))
#define WIRE_CERTS_MAX 16 /* in a chain, and of roots */
#define WIRE_SECRET_MAX 64
#define WIRE_SITE_MAX 64
#define WIRE_RENEWAL_BYTES 16

/* Bytes that the message owns. */
struct wire_bytes {
    uint8_t *data;
    size_t len;
};
struct wire_join_request {
    uint32_t version;
    uint8_t secret[WIRE_SECRET_MAX];
    size_t secret_len;
    struct wire_bytes csr;
    char site[WIRE_SITE_MAX]; /* "" if none */
};
struct wire_join_response {
    uint32_t version;
    struct wire_bytes chain[WIRE_CERTS_MAX], roots[WIRE_CERTS_MAX];
    size_t n_chain, n_roots;
};
struct wire_renew_request {
    uint32_t version;
    uint8_t id[WIRE_RENEWAL_BYTES];
};

/* Encoders. *out is malloc'ed; the caller frees it. ERR_TOO_BIG. */
int wire_join_request_encode(const struct wire_join_request *m, uint8_t **out, size_t *len) must_check;
int wire_join_response_encode(const struct wire_join_response *m, uint8_t **out, size_t *len) must_check;
int wire_renew_request_encode(const struct wire_renew_request *m, uint8_t **out, size_t *len) must_check;
/* Decoders. ERR_INVALID: not this message, or out of bounds. ERR_TOO_BIG. ERR_UNSUPPORTED: unknown version. The caller
 * calls x_fini in any case. */
int wire_join_request_decode(struct wire_join_request *m, const void *data, size_t len) must_check;
void wire_join_request_fini(struct wire_join_request *m);
int wire_join_response_decode(struct wire_join_response *m, const void *data, size_t len) must_check;
void wire_join_response_fini(struct wire_join_response *m);
int wire_renew_request_decode(struct wire_renew_request *m, const void *data, size_t len) must_check;

#endif
