/* The part for the upstream registries, which are the node's sources. It also reports their state to operators and
 * edges. Thread: control, but for what node_part.h says otherwise. */
#ifndef ENTREPOT_UPSTREAM_UPSTREAMS_PART_H
#define ENTREPOT_UPSTREAM_UPSTREAMS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_upstreams;

#endif
