/* The part that checks mirrored tags at their upstreams before edges must ask: a tag that any number of edges serve
 * costs one HEAD in its fresh_for. That it is as it was reaches all of them by the change log; one that has moved, once
 * somebody has pulled it. Thread: as node_part.h says of each function. */
#ifndef ENTREPOT_FRESHNESS_FRESHNESS_PART_H
#define ENTREPOT_FRESHNESS_FRESHNESS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_freshness;

#endif
