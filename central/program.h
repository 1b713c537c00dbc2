/* The program entrepot-central. Thread: main. */
#ifndef ENTREPOT_CENTRAL_PROGRAM_H
#define ENTREPOT_CENTRAL_PROGRAM_H

#include "common/cli/cli.h"

extern const struct cli_program central_program;
/* Runs the node until it is told to stop; the exit status. */
int central_serve(const struct command_context *ctx);

#endif
