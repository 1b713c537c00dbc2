/* GET /fleet/v1/watch (docs/protocol.md "Edge to central"): an answer without an end, by which an edge knows that its
 * settings are still central's. Its head has their version and is sent at once; then an empty message follows every few
 * seconds until central stops or dies. Changes of the catalogue can later be sent in the same body. Thread: the
 * request's loop. */
#ifndef ENTREPOT_FLEET_WATCH_H
#define ENTREPOT_FLEET_WATCH_H

#include "common/http/server.h"

/* The handler. Path and method have been matched. version: that of the current settings. */
void watch_handle(struct http_req *r, uint64_t version);

#endif
