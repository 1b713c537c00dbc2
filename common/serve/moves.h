/* Tags whose source names another manifest than the held one, until that manifest has been fetched: only then does the
 * tag move (docs/architecture.md "Tags"). In memory and bounded; a forgotten tag is asked for again. Thread: any. */
#ifndef ENTREPOT_SERVE_MOVES_H
#define ENTREPOT_SERVE_MOVES_H

#include "common/oci/name.h"
#include "common/store/tag.h"

struct moves;

struct move {
    struct repo_name repo;
    char tag[TAG_MAX + 1];
    struct tag_facts said; /* what the source said when it was last asked */
    int64_t failed_ms;     /* when it last could not be fetched, in monotonic ms; 0: never */
    char why[128];
    uint64_t order; /* grows with each moves_note */
};

struct moves *moves_new(void);
void moves_free(struct moves *t);
/* Notes what the source says. An earlier failure to fetch the same manifest stays noted. At a thousand tags the one
 * that was noted longest ago is forgotten. */
void moves_note(struct moves *t, const struct repo_name *repo, const char *tag, const struct tag_facts *said);
bool moves_get(struct moves *t, const struct repo_name *repo, const char *tag, struct move *out);
void moves_forget(struct moves *t, const struct repo_name *repo, const char *tag);
/* Notes for each tag that has moved to this manifest that it could not be fetched. */
void moves_failed(struct moves *t, const struct digest *manifest, const char *why);
/* Takes out one tag that has moved to this manifest. False: there is none left. */
bool moves_take(struct moves *t, const struct digest *manifest, struct move *out);

#endif
