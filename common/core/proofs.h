/* Collects the proofs of a blob's pieces (digest.h) while the blob is hashed from its first byte to its last. Thread:
 * owned by its user. */
#ifndef ENTREPOT_CORE_PROOFS_H
#define ENTREPOT_CORE_PROOFS_H

#include "common/core/digest.h"

/* {0} is an empty list. */
struct piece_proofs {
    uint8_t *list; /* n times digest_len bytes; malloc'd: piece_proofs_fini frees it */
    size_t n, cap;
};
/* As hasher_update, for a hasher that began at the start of the blob. Adds the proof of each piece that has ended and
 * is followed by more bytes. */
void piece_proofs_update(struct piece_proofs *p, struct hasher *h, const void *data, size_t len);
void piece_proofs_fini(struct piece_proofs *p);

#endif
