/* Digests for tests that want many, one for each number. Thread: any. */
#ifndef ENTREPOT_TESTS_SUPPORT_NTH_DIGEST_H
#define ENTREPOT_TESTS_SUPPORT_NTH_DIGEST_H

#include "common/core/digest.h"

static inline struct digest nth_digest(int64_t n) {
    struct digest d;
    digest_of(&d, DIGEST_SHA256, &n, sizeof(n));
    return d;
}

#endif
