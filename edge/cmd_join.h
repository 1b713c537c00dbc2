/* The command `join` of entrepot-edge. Thread: main. */
#ifndef ENTREPOT_EDGE_CMD_JOIN_H
#define ENTREPOT_EDGE_CMD_JOIN_H

#include "common/cli/command.h"

extern const struct command command_join;

#endif
