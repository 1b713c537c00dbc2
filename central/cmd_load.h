/* The command `load`, central's only. Thread: main. */
#ifndef ENTREPOT_CENTRAL_CMD_LOAD_H
#define ENTREPOT_CENTRAL_CMD_LOAD_H

#include "common/cli/command.h"

extern const struct command command_load;

#endif
