/* The interface to what keeps content without another source (central's hosted images). The registry asks it for
 * content that should be held and is not. Thread: any that may block, unless a function says otherwise. */
#ifndef ENTREPOT_SERVE_KEEPER_H
#define ENTREPOT_SERVE_KEEPER_H

#include "common/core/digest.h"
#include "common/core/error.h"

struct keeper {
    /* Pool of reads. Called when a blob that a hosted repository may have is not held or cannot be read. 0: it is held
     * again. ERR_NOT_FOUND: this repository does not have it. Else its bytes are missing, and err has a message for the
     * client, which must not conclude that the blob never existed. */
    int (*restore)(const char *repo, const struct digest *d, struct error *err, void *arg);
    void *arg;
};

#endif
