/* What every edge knows of its fleet, and the signed removals in it (proto/fleet.proto), as plain values. Decoding
 * checks form and bounds, and no signature. Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_FLEET_MESSAGE_H
#define ENTREPOT_WIRE_FLEET_MESSAGE_H

#include "common/wire/join_message.h"

#define WIRE_STATE_PATH "/fleet/v1/state"
#define WIRE_REMOVALS_PATH "/fleet/v1/removals"
#define WIRE_MAX_STATE ((size_t)MiB)
#define WIRE_REMOVALS_MAX 2048 /* so many fit, whatever their names */
#define WIRE_ADDRESSES_MAX 8
#define WIRE_ADDRESS_MAX 264 /* HOST:PORT and NUL */
#define WIRE_HASH_BYTES 32   /* SHA-256 of a certificate or key */
#define WIRE_FLEET_MAX 37    /* a UUID and NUL */

struct wire_removal {
    struct wire_bytes body, signature;
    uint8_t signer[WIRE_HASH_BYTES];
};
struct wire_fleet_state {
    uint32_t version;
    struct wire_bytes roots[WIRE_CERTS_MAX], signers[WIRE_CERTS_MAX];
    size_t n_roots, n_signers;
    char addresses[WIRE_ADDRESSES_MAX][WIRE_ADDRESS_MAX];
    size_t n_addresses;
    uint8_t signer[WIRE_HASH_BYTES]; /* zero: not said */
    struct wire_removal *removals;
    size_t n_removals;
};
struct wire_removal_body {
    char fleet[WIRE_FLEET_MAX], name[WIRE_SITE_MAX], site[WIRE_SITE_MAX];
    uint8_t key[WIRE_HASH_BYTES];
    uint64_t generation;
    int64_t removed_at, until;
};

/* Encoders. *out is malloc'ed; the caller frees it. ERR_TOO_BIG. */
int wire_fleet_state_encode(const struct wire_fleet_state *m, uint8_t **out, size_t *len) must_check;
int wire_removal_body_encode(const struct wire_removal_body *m, uint8_t **out, size_t *len) must_check;
/* Decoders. ERR_INVALID, ERR_TOO_BIG, ERR_UNSUPPORTED as in join_message.h. The caller calls wire_fleet_state_fini in
 * any case. */
int wire_fleet_state_decode(struct wire_fleet_state *m, const void *data, size_t len) must_check;
void wire_fleet_state_fini(struct wire_fleet_state *m);
int wire_removal_body_decode(struct wire_removal_body *m, const void *data, size_t len) must_check;

/* Adds a copy. Nothing is added beyond WIRE_REMOVALS_MAX. */
void wire_fleet_state_add(struct wire_fleet_state *m, const struct wire_removal *removal);
/* Adds a copy of a certificate to signers unless it is there, or no room is left. */
void wire_fleet_state_add_signer(struct wire_fleet_state *m, const void *der, size_t len);

#endif
