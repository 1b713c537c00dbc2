/* The part that answers edges on the fleet port: lookups, settings, the watch and the upstreams' states
 * (docs/protocol.md "Edge to central"). Thread: control. */
#ifndef ENTREPOT_FLEET_FLEET_PART_H
#define ENTREPOT_FLEET_FLEET_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_fleet;

#endif
