/* The part that keeps how this edge stands with central: the way to it, this edge's identity, and the settings it has
 * sent, which decide what names mean. Thread: any, unless a function says otherwise. */
#ifndef ENTREPOT_LINK_LINK_PART_H
#define ENTREPOT_LINK_LINK_PART_H

#include "common/node/node_part.h"
#include "edge/link/settings.h"
#include "edge/link/uplink.h"

extern const struct node_part part_link;
/* The settings. Valid once the part has started. */
struct settings *settings_of(const struct node *n);
/* The way to central. Valid once the part has started. */
const struct uplink *uplink_of(const struct node *n);
/* Who this edge is by its certificate. False: it has not joined. */
bool link_member(const struct node *n, struct member *out);
/* Control thread, in a part's start. changed(arg) is called on the fetch loop when this edge has got another address of
 * central's or another identity. */
void link_on_change(const struct node *n, void (*changed)(void *arg), void *arg);

/* Fetch loop: how many requests for bytes are under way at central. Whoever makes them counts them; what nobody waits
 * for leaves the link to them. */
unsigned *link_pulls(const struct node *n);

/* Fetch loop: what central's watch says of the state of the fleet (fleet_sync.h), and that central could not be reached
 * (roam.h). */
void link_fleet_told(const struct node *n, uint64_t version);
void link_central_away(const struct node *n);

#endif
