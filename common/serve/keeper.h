/* Who keeps content that has no other source (central's hosted images). The registry asks it for what should be held
 * and is not. */
#ifndef ENTREPOT_SERVE_KEEPER_H
#define ENTREPOT_SERVE_KEEPER_H

#include "common/core/digest.h"
#include "common/core/error.h"

struct keeper {
    /* Pool of reads: what a repository without other sources should have is not held, or cannot be read. 0: it has come
     * back, and is held. ERR_NOT_FOUND: this repository does not have it. Else its bytes are missing; err says so to
     * the client, who must not think that it never existed. */
    int (*restore)(const char *repo, const struct digest *d, struct error *err, void *arg);
    void *arg;
};

#endif
