/* Renews this edge's certificate when half of its life is over. Its id is on disk before the request is sent, so that
 * an answer that was lost is asked for again, also after a restart, and central does not take that for a copy of this
 * edge. Thread: the fetch loop. */
#ifndef ENTREPOT_EDGE_LINK_RENEWAL_H
#define ENTREPOT_EDGE_LINK_RENEWAL_H

#include "common/core/workpool.h"
#include "edge/link/uplink.h"

struct renewal;

struct renewal_config {
    struct uplink *uplink;
    const char *data;
    struct loop *loop;
    struct http_client *client;
    struct workpool *pool; /* writes the files */
};
struct renewal *renewal_new(const struct renewal_config *cfg);
/* Looks when the certificate is due, at once and whenever the identity has changed. */
void renewal_look(struct renewal *r);
/* The certificate is to be renewed soon, whatever its age: another signer signs now. */
void renewal_hasten(struct renewal *r);
/* When no loop runs and the pool is at rest. */
void renewal_free(struct renewal *r);

#endif
