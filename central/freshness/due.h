/* Which mirrored tags central checks by itself, so that edges go on answering them without asking. A tag that somebody
 * has asked for is due when its last check is no longer fresh, unless nobody has asked within its last ten periods
 * (fresh_for). Of those due at one upstream, the ones asked for most go first. Bounded. Times are monotonic milliseconds
 * that the caller gives. Thread: any (one lock). */
#ifndef ENTREPOT_FRESHNESS_DUE_H
#define ENTREPOT_FRESHNESS_DUE_H

#include "common/oci/name.h"

struct due;

/* The lock is held while all tags are looked at; for so many that takes a fifth of a millisecond. */
#define DUE_TAGS_MAX 10000
/* Nobody has asked for so many periods: the tag is forgotten here. */
#define DUE_PERIODS 10

/* max: tags that are kept; beyond that a new one takes the place of one that was asked for less, if there is one. */
struct due *due_new(size_t max);
void due_free(struct due *d);

struct due_tag {
    unsigned upstream; /* its index */
    struct repo_name repo;
    char tag[TAG_MAX + 1];
};
/* Somebody has asked. period_ms: how long a check is fresh; age_ms: of the last. */
void due_asked(struct due *d, const struct due_tag *t, int64_t period_ms, int64_t age_ms, int64_t now_ms);
/* Takes a tag of that upstream that is due: it is being checked until due_checked is called. False: there is none. */
bool due_take(struct due *d, unsigned upstream, int64_t now_ms, struct due_tag *out);
/* It was checked age_ms ago. Less than 0: its source could not be asked. */
void due_checked(struct due *d, const struct due_tag *t, int64_t age_ms, int64_t now_ms);
/* Forgets what nobody asks for any more. Returns how many tags are left. */
size_t due_tidy(struct due *d, int64_t now_ms);

#endif
