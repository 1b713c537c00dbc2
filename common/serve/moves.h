/* Tags whose source has named another manifest than the one held, as long as that has not come: the tag moves only when
 * it is here (design.md "Tags"). Kept in memory and bounded: what is forgotten is asked of the source again. Thread:
 * any. */
#ifndef ENTREPOT_SERVE_MOVES_H
#define ENTREPOT_SERVE_MOVES_H

#include "common/oci/name.h"
#include "common/store/tag.h"

struct moves;

struct move {
    struct repo_name repo;
    char tag[TAG_MAX + 1];
    struct tag_facts said; /* by the source, when it was asked last */
    int64_t failed_ms;     /* monotonic; when it last could not be had; 0: that has not happened */
    char why[128];
};

struct moves *moves_new(void);
void moves_free(struct moves *t);
/* The source says so. That the same manifest could not be had before stays known. */
void moves_note(struct moves *t, const struct repo_name *repo, const char *tag, const struct tag_facts *said);
bool moves_get(struct moves *t, const struct repo_name *repo, const char *tag, struct move *out);
void moves_forget(struct moves *t, const struct repo_name *repo, const char *tag);
/* The manifest could not be had: noted for each tag that has moved to it. */
void moves_failed(struct moves *t, const struct digest *manifest, const char *why);
/* One tag that has moved to this manifest, and is then forgotten. False: none is left. */
bool moves_take(struct moves *t, const struct digest *manifest, struct move *out);

#endif
