/* The program entrepot-edge. Thread: main. */
#ifndef ENTREPOT_EDGE_PROGRAM_H
#define ENTREPOT_EDGE_PROGRAM_H

#include "common/cli/cli.h"

extern const struct cli_program edge_program;
/* Runs the node until it is told to stop; the exit status. */
int edge_serve(const struct command_context *ctx);

#endif
