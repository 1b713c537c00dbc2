/* Which step a change of the fleet's root has reached, and whether the next may follow (ca.h has the steps). Pure.
 * Thread: any. */
#ifndef ENTREPOT_FLEET_ROTATION_H
#define ENTREPOT_FLEET_ROTATION_H

#include "central/fleet/ca.h"
#include "central/fleet/roster.h"

/* What an edge lacks before the next step; NULL: nothing. roots: the mark of those that are trusted; signer: that of the
 * present one (roster_config.signer). */
const char *rotation_lacks(enum ca_state state, const struct edge_facts *f, uint64_t roots, uint64_t signer);
/* True if no edge lacks anything. until: ca_retired_until. */
bool rotation_may_go_on(enum ca_state state, const struct edge_facts *list, size_t n, uint64_t roots, uint64_t signer,
                        int64_t until, int64_t now);
/* For people: what is going on. */
const char *rotation_word(enum ca_state state);

#endif
