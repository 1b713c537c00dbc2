/* Tags: (canonical repository, tag) -> digest, in memory and in the index. Thread: any. */
#ifndef ENTREPOT_STORE_TAG_H
#define ENTREPOT_STORE_TAG_H

#include "common/store/store.h"

struct tag_record {
    struct digest digest;
    int64_t checked_at; /* wall seconds of the last check at its source */
    int64_t size;       /* of the manifest, -1 unknown */
    char media_type[256];
    bool deleted; /* its source has said it is gone; still served while held */
};
bool store_tag_get(const struct store *s, const char *repo, const char *tag, struct tag_record *out);
/* In memory at once, on disk soon (batched). */
void store_tag_set(struct store *s, const char *repo, const char *tag, const struct tag_record *rec);
/* Unless the guard keeps it. */
void store_tag_forget(struct store *s, const char *repo, const char *tag);
/* Tags of one repository in ASCII order, after `last` ("" : from the start), at most max. Names are copied to out
 * (caller frees each and the array). */
size_t store_tags(const struct store *s, const char *repo, const char *last, size_t max, char ***out);

#endif
