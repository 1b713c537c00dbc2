/* Piece proofs from a running hash. Thread: owned by its user. */
#include "common/core/proofs.h"

#include "common/core/alloc.h"

#include <string.h>

static void add(struct piece_proofs *p, const struct hasher *h) {
    uint8_t proof[PIECE_PROOF_MAX];
    size_t len = digest_len(h->alg);
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->list = xrealloc(p->list, p->cap, len);
    }
    hasher_proof(h, proof);
    memcpy(p->list + p->n++ * len, proof, len);
}

void piece_proofs_update(struct piece_proofs *p, struct hasher *h, const void *data, size_t len) {
    const uint8_t *at = data;
    while (len > 0) {
        /* Only when more bytes follow is it certain that the piece was not the last. */
        if (h->len > 0 && h->len % PIECE_SIZE == 0) add(p, h);
        size_t left = (size_t)(PIECE_SIZE - (int64_t)(h->len % PIECE_SIZE)), n = len < left ? len : left;
        hasher_update(h, at, n);
        at += n;
        len -= n;
    }
}

void piece_proofs_fini(struct piece_proofs *p) {
    free(p->list);
    *p = (struct piece_proofs){0};
}
