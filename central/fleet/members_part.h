/* The part that knows who belongs to the fleet: its authority, the roster of edges, the door of the fleet port, and
 * what operators ask about them. Thread: control. */
#ifndef ENTREPOT_FLEET_MEMBERS_PART_H
#define ENTREPOT_FLEET_MEMBERS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_members;

#endif
