/* The proofs of a blob's pieces (digest.h), gathered while all of it is hashed from its first byte to its last.
 * Thread: one at a time. */
#ifndef ENTREPOT_CORE_PROOFS_H
#define ENTREPOT_CORE_PROOFS_H

#include "common/core/digest.h"

/* {0} is none. */
struct piece_proofs {
    uint8_t *list; /* n times digest_len bytes; malloc'd: piece_proofs_fini frees it */
    size_t n, cap;
};
/* As hasher_update, for a hasher that began at the blob's start; each piece that ends before more bytes come has its
 * proof added. */
void piece_proofs_update(struct piece_proofs *p, struct hasher *h, const void *data, size_t len);
void piece_proofs_fini(struct piece_proofs *p);

#endif
