/* Finds central where it has moved. While central cannot be reached at its present address, the others that it has told
 * (fleet_sync.h) and the configured one are asked one after another, and the first at which a central with a pinned
 * root answers is used from then on. Where it was found is kept in DATA/identity/central, for the next start; it counts
 * as long as the configuration names the same central as then. Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_LINK_ROAM_H
#define ENTREPOT_EDGE_LINK_ROAM_H

#include "common/core/workpool.h"
#include "edge/link/fleet_sync.h"

struct roam;

struct roam_config {
    struct uplink *uplink;
    struct fleet_sync *sync;
    const char *data;
    const char *configured; /* URL; borrowed */
    struct loop *loop;
    struct http_client *client;
    struct workpool *pool;
};
struct roam *roam_new(const struct roam_config *cfg);
/* When no loop runs and the pool is at rest. */
void roam_free(struct roam *r);
/* Call it when central could not be reached. */
void roam_away(struct roam *r);

/* Any thread that may block: where central was found last, or configured itself. The caller frees it. */
char *roam_last(const char *data, const char *configured);

#endif
