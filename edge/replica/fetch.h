/* Fetches the list of tiles and tiles from central's fleet port, one request at a time, and tries again what failed. On
 * a thin link a request asks for as many tiles as come in a third of a second, and clients' pulls go first. Thread: the
 * fetch loop. */
#ifndef ENTREPOT_EDGE_REPLICA_FETCH_H
#define ENTREPOT_EDGE_REPLICA_FETCH_H

#include "common/http/client.h"
#include "edge/link/uplink.h"
#include "edge/replica/follow.h"

struct tile_fetch;

struct tile_fetch_config {
    const struct uplink *uplink; /* borrowed */
    struct loop *loop;
    struct http_client *client;
    /* Clients' requests for bytes that are under way by the same link. While there are some, few tiles are fetched.
     * NULL: that is not known. */
    const unsigned *pulls;
};
/* follow is set before anything is wanted. */
struct tile_fetch *tile_fetch_new(const struct tile_fetch_config *cfg);
void tile_fetch_free(struct tile_fetch *t);
void tile_fetch_for(struct tile_fetch *t, struct follow *f);

/* As struct follow_config wants them; arg: the struct tile_fetch. */
void tile_fetch_list(void *arg);
void tile_fetch_tiles(const unsigned *tiles, size_t n, bool full, void *arg);

#endif
