/* The edge's own parts, and how they fit into a node. Thread: as runtime.h says of each callback. */
#ifndef ENTREPOT_EDGE_EDGE_H
#define ENTREPOT_EDGE_EDGE_H

#include "common/cli/command.h"

extern const struct command command_edge_serve;

#endif
