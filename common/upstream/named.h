/* The manifests that an upstream's tags have lately pointed to. Some registries do not give by its digest what they give
 * by its tag: a replica lags behind, or the digest is of a document made for the tag alone. Such a manifest is then
 * asked for by the tag. In memory, the newest few. Thread: the fetch loop. */
#ifndef ENTREPOT_UPSTREAM_NAMED_H
#define ENTREPOT_UPSTREAM_NAMED_H

#include "common/oci/name.h"

struct named;

struct named *named_new(void);
void named_free(struct named *n);
/* path: the repository. */
void named_note(struct named *n, const char *path, const char *tag, const struct digest *manifest);
/* The tag that pointed to it last; valid until the next note. NULL: none is known. */
const char *named_tag(const struct named *n, const char *path, const struct digest *manifest);

#endif
