/* GET /fleet/v1/watch: an answer without an end, by which an edge knows that the settings it goes by are still
 * central's. Its head names their version at once; then a sign of life comes every few seconds, until central stops or
 * dies. What will be told of the catalogue as it changes can follow in the same body. Thread: the request's loop. */
#ifndef ENTREPOT_FLEET_WATCH_H
#define ENTREPOT_FLEET_WATCH_H

#include "common/http/server.h"

#define WATCH_PATH "/fleet/v1/watch"

/* Path and method have been matched. version: of the settings in force. */
void watch_handle(struct http_req *r, uint64_t version);

#endif
