/* The upstreams as a part of central: the node's supply. How they stand is told to people and to edges. */
#ifndef ENTREPOT_UPSTREAM_UPSTREAMS_PART_H
#define ENTREPOT_UPSTREAM_UPSTREAMS_PART_H

#include "common/node/part.h"

extern const struct part part_upstreams;

#endif
