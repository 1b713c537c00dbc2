/* How often each tag of a list was pulled, for `ls REPO` on central. Thread: main. */
#ifndef ENTREPOT_CLI_LS_PULLS_H
#define ENTREPOT_CLI_LS_PULLS_H

#include <jansson.h>

#include "common/cli/command.h"

/* Adds `pulls` to each tag of doc, if this is central and its daemon runs. */
void ls_add_pulls(const struct command_context *ctx, json_t *doc);

#endif
