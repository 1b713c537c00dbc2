/* The far end of the road that an edge's doctor measures: answers with as many bytes as it asks for. Thread: the
 * request's loop. */
#ifndef ENTREPOT_CENTRAL_FLEET_ROAD_END_H
#define ENTREPOT_CENTRAL_FLEET_ROAD_END_H

#include "common/http/server.h"

/* Answers a request on WIRE_ROAD_PATH: 200 with the bytes, and the address that it came from as SEEN_HEADER. 400: it does
 * not say how many, or more than WIRE_MAX_ROAD_ANSWER. 413: its body is over WIRE_MAX_ROAD_REQUEST. */
void road_end_handle(struct http_req *req);

#endif
