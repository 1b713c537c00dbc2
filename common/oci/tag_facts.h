/* What is known about a tag, in the one form used on the wire, on disk and in answers. Its name (repository, tag) is
 * kept beside it. Plain values. Thread: any. */
#ifndef ENTREPOT_OCI_TAG_FACTS_H
#define ENTREPOT_OCI_TAG_FACTS_H

#include "common/oci/manifest.h"

struct tag_facts {
    struct digest digest; /* of the manifest that it points to */
    int64_t size;         /* of that manifest, in bytes; -1: unknown */
    int64_t checked_at;   /* seconds since the epoch: when its source was last asked, or the owner set it */
    char media_type[MEDIA_TYPE_MAX + 1];
    bool deleted; /* its source says that it is gone; it is served while it is held */
    /* For one answer only; not stored. */
    bool stale;        /* its source could not be asked or has deleted it; warning says which */
    char warning[256]; /* for clients, "" if none: the text without `299 - ` and quotes */
};

#endif
