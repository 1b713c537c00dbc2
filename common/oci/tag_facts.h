/* What is known of a tag: the one form of it from the wire and the disk to the answer. Its name (repository, tag)
 * stands beside it. Plain values. */
#ifndef ENTREPOT_OCI_TAG_FACTS_H
#define ENTREPOT_OCI_TAG_FACTS_H

#include "common/oci/manifest.h"

struct tag_facts {
    struct digest digest; /* of the manifest that it points to */
    int64_t size;         /* of that, in bytes; -1: unknown */
    int64_t checked_at;   /* seconds since the epoch: when its source was last asked, or its owner set it */
    char media_type[MEDIA_TYPE_MAX + 1];
    bool deleted; /* its source has said that it is gone; it is served while it is held */
    /* Of one answer: nobody keeps these. */
    bool stale;        /* its source could not be asked, or has deleted it: warning says so */
    char warning[256]; /* for clients: text without `299 - ` and quotes; "" */
};

#endif
