/* The certificate of this edge's registry port, where registry.tls is fleet: signed by the fleet's authority for the
 * names that central grants, asked for at each start, when the edge's identity or signer changes, and when half of its
 * life is over. New connections use the new one; those that are open stay as they are. Key and certificate are in
 * DATA/identity/registry.pem, so that the port works while central is away. Thread: the fetch loop, but for what is
 * marked. */
#ifndef ENTREPOT_EDGE_LINK_REGISTRY_CERT_H
#define ENTREPOT_EDGE_LINK_REGISTRY_CERT_H

#include <jansson.h>

#include "common/http/tls.h"
#include "common/node/node_part.h"
#include "edge/link/uplink.h"

struct registry_cert;

/* Control thread, before loops run. Reads what is on disk, and makes it the node's registry_tls. While there is none,
 * the node is not ready, and the port refuses handshakes. */
struct registry_cert *registry_cert_new(struct node *node, struct uplink *uplink);
/* Asks for another certificate: call it when everything runs, and when the identity has changed. */
void registry_cert_ask(struct registry_cert *c);
/* When no loop runs and the pool is at rest. */
void registry_cert_free(struct registry_cert *c);
/* Any thread. {"names","refused","not_after","problem"}: what it bears, what central has not granted, its end in
 * seconds since the epoch (0: there is none), and why another could not be had ("": it could). */
json_t *registry_cert_json(struct registry_cert *c);

#endif
