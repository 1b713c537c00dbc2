/* The part that knows who belongs to the fleet: its authority, the roster of edges, the door of the fleet port, and
 * what operators ask about them. Thread: control. */
#ifndef ENTREPOT_FLEET_MEMBERS_PART_H
#define ENTREPOT_FLEET_MEMBERS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_members;

/* The version of the fleet's state. Any thread. */
uint64_t members_state_version(const struct node *n);
/* In start: fn is called on the control loop after it has changed. One is enough. */
void members_on_change(const struct node *n, void (*fn)(void *arg), void *arg);

#endif
