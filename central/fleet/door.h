/* Who may enter the fleet port: the certificates that the other ends of TLS connections show, looked up in the roster.
 * Thread: serving loops, unless a function says otherwise. */
#ifndef ENTREPOT_FLEET_DOOR_H
#define ENTREPOT_FLEET_DOOR_H

#include "central/fleet/ca.h"
#include "central/fleet/roster.h"
#include "common/access/gate.h"

struct door {
    struct roster *roster;
    const char *fleet;
    int64_t rejoin_window_s; /* how long after its end a certificate can still be renewed */
    struct gate gate;
};

/* Control thread. Fills d->gate; tls is borrowed. */
void door_init(struct door *d, struct tls_server *tls);

/* The edge of a request that was admitted. NULL: it is no edge's. */
struct edge *door_edge(const struct http_req *req, struct member *who);
/* The public key of its certificate. Borrowed. */
EVP_PKEY *door_key(const struct http_req *req);

#endif
