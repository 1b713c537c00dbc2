/* Tags: (canonical repository, tag) -> digest, in memory and in the index. Thread: any. */
#ifndef ENTREPOT_STORE_TAG_H
#define ENTREPOT_STORE_TAG_H

#include "common/oci/name.h"
#include "common/oci/tag_facts.h"
#include "common/store/store.h"

/* Copies what is known of a tag; stale and warning are never set. False: the tag is unknown. */
bool store_tag_get(const struct store *s, const char *repo, const char *tag, struct tag_facts *out);
/* True if the tag points to another manifest than this one, and that one is held. */
bool store_tag_holds_another(const struct store *s, const struct repo_name *repo, const char *tag,
                             const struct digest *manifest);
/* In memory at once, on disk soon (batched). */
void store_tag_set(struct store *s, const char *repo, const char *tag, const struct tag_facts *rec);
/* Forgets a tag, unless the guard keeps it. */
void store_tag_forget(struct store *s, const char *repo, const char *tag);
/* Tags of one repository in ASCII order, after `last` ("" : from the start), at most max. Names are copied to out
 * (caller frees each and the array). */
size_t store_tags(const struct store *s, const char *repo, const char *last, size_t max, char ***out);

#endif
