/* What store_part.c, store_routes.c and store_verify.c share. Thread: as each comment says. */
#ifndef ENTREPOT_NODE_STORE_PART_H
#define ENTREPOT_NODE_STORE_PART_H

#include "common/node/node_part.h"

struct store_part {
    struct node *node;
    atomic_bool verifying; /* only one verify runs at a time */
    atomic_bool ending;    /* the node is stopping: a verify ends early */
};

/* Their handlers get the struct store_part. Serving loop. */
extern const struct route store_routes[];
/* POST /api/verify. Serving loop. */
void store_verify_route(struct http_req *req, void *store_part);

#endif
