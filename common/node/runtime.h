/* The command `serve`: one node put together from its parts, started, watched and taken down. Thread: the control loop
 * (main). */
#ifndef ENTREPOT_NODE_RUNTIME_H
#define ENTREPOT_NODE_RUNTIME_H

#include "common/cli/command.h"
#include "common/node/part.h"

/* What makes it central or an edge. */
struct runtime_tier {
    const struct part *const *parts; /* in the order they start; ends with NULL */
    const struct store_guard *guard; /* of the store; NULL: all that is held can be had again */
    const char *not_with;            /* a file that only the other tier's data folder has */
};

/* Runs until SIGTERM or SIGINT. Returns the command's exit status; errors are printed. */
int runtime_serve(const struct command_context *ctx, const struct runtime_tier *tier);

#endif
