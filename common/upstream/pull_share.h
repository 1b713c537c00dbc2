/* Shares the rest of a registry's pull limit among callers that pulled lately, so that one caller cannot use up what
 * all need. While more than a quarter is left nobody is held back. Below that, a caller that has had its equal part
 * waits for the others. Of the last eighth, each caller gets at most as many pulls as it leaves. Counts are halved
 * every quarter of the registry's window. Thread: the fetch loop; times are parameters. */
#ifndef ENTREPOT_UPSTREAM_PULL_SHARE_H
#define ENTREPOT_UPSTREAM_PULL_SHARE_H

#include "common/upstream/ratelimit.h"
#include "common/access/caller.h"

struct pull_share {
    struct map *had;    /* struct caller -> pulls, as a number; made when first needed */
    unsigned under_way; /* whose answers have not said yet what is left */
    int64_t next_halving_ms;
};
void pull_share_fini(struct pull_share *p);
/* True if this caller's GET, which counts as a pull, may be sent. */
bool pull_share_may(struct pull_share *p, const struct ratelimit *limit, const struct caller *caller);
/* Call when it is sent; pull_share_answered must follow once. */
void pull_share_took(struct pull_share *p, const struct ratelimit *limit, const struct caller *caller, int64_t now_ms);
void pull_share_answered(struct pull_share *p);
/* How many pulls this caller has had lately. */
uint64_t pull_share_had(const struct pull_share *p, const struct caller *caller);

#endif
