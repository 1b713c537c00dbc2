/* What central has told this edge, as a part of it: settings say what names mean. Thread: any. */
#ifndef ENTREPOT_LINK_LINK_PART_H
#define ENTREPOT_LINK_LINK_PART_H

#include "common/node/part.h"
#include "edge/link/settings.h"

extern const struct part part_link;
/* Once the part has started. */
struct settings *settings_of(const struct node *n);

#endif
