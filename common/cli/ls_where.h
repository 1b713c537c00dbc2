/* `ls --where IMAGE`: which sites and edges hold an image. Asks central's daemon. Thread: main. */
#ifndef ENTREPOT_CLI_LS_WHERE_H
#define ENTREPOT_CLI_LS_WHERE_H

#include "common/cli/command.h"

/* Exit status; prints its own errors. */
int ls_where(const struct command_context *ctx, const char *image);

#endif
