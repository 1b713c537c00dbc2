/* Keeps what this edge knows of its fleet equal to central's state of it (proto/fleet.proto): the roots it trusts, where
 * central is and will be, which signer signs, and who was removed. Central's watch says its version. It is kept in
 * DATA/identity/fleet.pb.
 *
 *   resting ── another version is told ──▶ asking ── answered ──▶ taking over (work pool) ──▶ resting
 *                                                                     └── central lacks a removal ──▶ showing ──▶ resting
 *
 * Removals are signed, and stay here until they no longer matter. A central that was restored from an older backup gets
 * back those that it lacks. Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_LINK_FLEET_SYNC_H
#define ENTREPOT_EDGE_LINK_FLEET_SYNC_H

#include "common/core/workpool.h"
#include "common/wire/fleet_message.h"
#include "edge/link/renewal.h"
#include "edge/link/uplink.h"

struct fleet_sync;

struct fleet_sync_config {
    struct uplink *uplink;
    struct renewal *renewal;
    const char *data;
    struct loop *loop;
    struct http_client *client;
    struct workpool *pool;
};
/* Control thread, before the loop runs: reads what is on disk. */
struct fleet_sync *fleet_sync_new(const struct fleet_sync_config *cfg);
/* When no loop runs and the pool is at rest. */
void fleet_sync_free(struct fleet_sync *s);

/* Central's state has this version. */
void fleet_sync_told(struct fleet_sync *s, uint64_t version);
/* The identity or its roots have changed: the state is asked for again when the watch next tells its version. */
void fleet_sync_doubt(struct fleet_sync *s);
/* Any thread. Copies central's addresses; returns how many. */
size_t fleet_sync_addresses(struct fleet_sync *s, char out[WIRE_ADDRESSES_MAX][WIRE_ADDRESS_MAX]);
/* Any thread: how many edges it knows to be removed. */
size_t fleet_sync_removed(struct fleet_sync *s);

#endif
