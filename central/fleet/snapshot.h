/* GET /fleet/v1/snapshot (docs/protocol.md "The change log"): the digests of all tiles; with ?tiles=N,N,… (64 at most)
 * those tiles, as many of them as fit into one answer; with &full=1 without short names of children. Tiles are read and
 * packed in the work pool, for a few requests at a time, and kept until they change. Thread: the request's loop; new
 * and free on the control thread. */
#ifndef ENTREPOT_FLEET_SNAPSHOT_H
#define ENTREPOT_FLEET_SNAPSHOT_H

#include "central/catalog/catalog.h"
#include "central/fleet/unread.h"
#include "common/core/workpool.h"
#include "common/http/server.h"

struct snapshots;

/* unread: borrowed; NULL: what an edge does not read has no bound. */
struct snapshots *snapshots_new(struct catalog *c, struct workpool *pool, struct unread *unread);
/* When no loop or job runs any more. */
void snapshots_free(struct snapshots *s);
/* The handler. Path and method have been matched. */
void snapshot_handle(struct snapshots *s, struct http_req *r);

#endif
