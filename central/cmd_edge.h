/* The commands about the fleet of entrepot-central: `edge` and `ca`. Thread: main. */
#ifndef ENTREPOT_CENTRAL_CMD_EDGE_H
#define ENTREPOT_CENTRAL_CMD_EDGE_H

#include "common/cli/command.h"

extern const struct command command_edge, command_ca;

#endif
