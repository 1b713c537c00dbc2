/* What is left of a registry's pull limit, shared among those who asked lately, so that nobody's hundred pulls use up
 * everybody's. While more than a quarter is left nobody is held back. Then a caller that has had its equal part waits
 * for the others, and of the last eighth each gets as many as it leaves. Counts are halved every quarter of the
 * registry's window. Thread: the fetch loop; times are given. */
#ifndef ENTREPOT_CENTRAL_UPSTREAM_PULL_SHARE_H
#define ENTREPOT_CENTRAL_UPSTREAM_PULL_SHARE_H

#include "central/upstream/ratelimit.h"
#include "common/access/caller.h"

struct pull_share {
    struct map *had;    /* struct caller -> pulls, as a number; made when first needed */
    unsigned under_way; /* whose answers have not said yet what is left */
    int64_t next_halving_ms;
};
void pull_share_fini(struct pull_share *p);
/* May this caller's GET that counts be sent? */
bool pull_share_may(struct pull_share *p, const struct ratelimit *limit, const struct caller *caller);
/* It is sent; pull_share_answered follows once. */
void pull_share_took(struct pull_share *p, const struct ratelimit *limit, const struct caller *caller, int64_t now_ms);
void pull_share_answered(struct pull_share *p);
/* How many this caller has had lately. */
uint64_t pull_share_had(const struct pull_share *p, const struct caller *caller);

#endif
