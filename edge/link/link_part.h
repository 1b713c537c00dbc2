/* The part that keeps the settings central has sent, which decide what names mean. Thread: any. */
#ifndef ENTREPOT_LINK_LINK_PART_H
#define ENTREPOT_LINK_LINK_PART_H

#include "common/node/node_part.h"
#include "edge/link/settings.h"

extern const struct node_part part_link;
/* The settings. Valid once the part has started. */
struct settings *settings_of(const struct node *n);

#endif
