/* The part that knows who belongs to the fleet: its authority, the roster of edges, the door of the fleet port, and
 * what operators ask about them. Thread: control. */
#ifndef ENTREPOT_FLEET_MEMBERS_PART_H
#define ENTREPOT_FLEET_MEMBERS_PART_H

#include "common/node/node_part.h"

struct roster;

extern const struct node_part part_members;

/* The version of the fleet's state. Any thread. */
uint64_t members_state_version(const struct node *n);
/* In start: fn is called on the control loop after it has changed. One is enough. */
void members_on_change(const struct node *n, void (*fn)(void *arg), void *arg);
/* In start and stop: fn adds what another part knows of an edge to what is shown of it. Work pool. One is enough; NULL:
 * none. */
void members_on_edge_shown(const struct node *n, void (*fn)(const char *name, json_t *edge, void *arg), void *arg);
/* The edges of the fleet. Valid until the part stops. Any thread. */
struct roster *members_roster(const struct node *n);

#endif
