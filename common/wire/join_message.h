/* The messages by which an edge joins, renews its certificate, and gets one for its registry port (proto/fleet.proto),
 * as plain values. Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_JOIN_MESSAGE_H
#define ENTREPOT_WIRE_JOIN_MESSAGE_H

#include "common/core/error.h"

#define WIRE_JOIN_PATH "/fleet/v1/join"
#define WIRE_RENEW_PATH "/fleet/v1/renew"
#define WIRE_CERTIFICATE_PATH "/fleet/v1/certificate"
#define WIRE_MAX_JOIN ((size_t)(64 * KiB))
#define WIRE_CERTS_MAX 16 /* in a chain, and of roots */
#define WIRE_SECRET_MAX 64
#define WIRE_SITE_MAX 64
#define WIRE_RENEWAL_BYTES 16
#define WIRE_NAMES_MAX 32
#define WIRE_NAME_MAX 254 /* of a host or an address, with NUL */

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
/* Hosts and addresses. */
struct wire_names {
    char list[WIRE_NAMES_MAX][WIRE_NAME_MAX];
    size_t n;
};
struct wire_certificate_request {
    uint32_t version;
    struct wire_bytes csr;
    struct wire_names names; /* at least one */
};
struct wire_certificate_response {
    uint32_t version;
    struct wire_bytes chain[WIRE_CERTS_MAX]; /* at least one */
    size_t n_chain;
    struct wire_names refused;
};

/* Encoders. *out is malloc'ed; the caller frees it. ERR_TOO_BIG. */
int wire_join_request_encode(const struct wire_join_request *m, uint8_t **out, size_t *len) must_check;
int wire_join_response_encode(const struct wire_join_response *m, uint8_t **out, size_t *len) must_check;
int wire_renew_request_encode(const struct wire_renew_request *m, uint8_t **out, size_t *len) must_check;
int wire_certificate_request_encode(const struct wire_certificate_request *m, uint8_t **out, size_t *len) must_check;
int wire_certificate_response_encode(const struct wire_certificate_response *m, uint8_t **out, size_t *len) must_check;
/* Decoders. ERR_INVALID: not this message, or out of bounds. ERR_TOO_BIG. ERR_UNSUPPORTED: unknown version. The caller
 * calls x_fini in any case. */
int wire_join_request_decode(struct wire_join_request *m, const void *data, size_t len) must_check;
void wire_join_request_fini(struct wire_join_request *m);
int wire_join_response_decode(struct wire_join_response *m, const void *data, size_t len) must_check;
void wire_join_response_fini(struct wire_join_response *m);
int wire_renew_request_decode(struct wire_renew_request *m, const void *data, size_t len) must_check;
int wire_certificate_request_decode(struct wire_certificate_request *m, const void *data, size_t len) must_check;
void wire_certificate_request_fini(struct wire_certificate_request *m);
int wire_certificate_response_decode(struct wire_certificate_response *m, const void *data, size_t len) must_check;
void wire_certificate_response_fini(struct wire_certificate_response *m);

#endif
