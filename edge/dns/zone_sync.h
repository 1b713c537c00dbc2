/* Gets central's zone for the DNS that this edge answers: the watch says which zone is in force and which edges may be
 * named; a zone of another version than the last one is asked for (GET /fleet/v1/dns).
 *
 *   resting ── a zone of another version is told ──▶ asking ── it has come ──▶ resting
 *      ▲                                                └── it has not ──▶ asking again, after a pause
 *
 * Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_DNS_ZONE_SYNC_H
#define ENTREPOT_EDGE_DNS_ZONE_SYNC_H

#include "common/http/client.h"
#include "edge/dns/answering.h"
#include "edge/link/uplink.h"

struct zone_sync;
/* Control thread, before the loop runs. All is borrowed until zone_sync_free. */
struct zone_sync *zone_sync_new(const struct uplink *uplink, struct loop *loop, struct http_client *client,
                                struct answering *answering);
/* When no loop runs. */
void zone_sync_free(struct zone_sync *s);
/* What the watch says; NULL: its stream has ended. */
void zone_sync_told(struct zone_sync *s, const struct watch_dns *told);

#endif
