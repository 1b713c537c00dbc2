/* Central's own subcommands. Thread: main. */
#ifndef ENTREPOT_CENTRAL_CENTRAL_H
#define ENTREPOT_CENTRAL_CENTRAL_H

#include "common/cli/command.h"

extern const struct command command_central_serve;

#endif
