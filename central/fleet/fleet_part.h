/* The part that answers edges on the fleet port: lookups, settings, the watch and the upstreams' states
 * (docs/protocol.md "Edge to central"). Thread: control. */
#ifndef ENTREPOT_FLEET_FLEET_PART_H
#define ENTREPOT_FLEET_FLEET_PART_H

#include "central/fleet/watch.h"
#include "common/node/node_part.h"

extern const struct node_part part_fleet;

/* In start: what the watch tells edges that answer DNS. */
void fleet_set_dns(const struct node *n, const struct watch_aside *dns);
/* Any thread, while the part runs: that has changed. */
void fleet_tell_dns(const struct node *n);

#endif
