/* The command `serve`: puts a node together from its parts, starts it, watches it and stops it. Thread: the control
 * loop (main). */
#ifndef ENTREPOT_NODE_RUNTIME_H
#define ENTREPOT_NODE_RUNTIME_H

#include "common/cli/command.h"
#include "common/node/node_part.h"

/* The differences between central and an edge. */
struct runtime_tier {
    const struct node_part *const *parts; /* in the order they start; ends with NULL */
    const struct store_guard *guard;      /* guard of the store; NULL: all held content has another source */
    const char *not_with;                 /* a file that only the other tier's data folder has */
    int (*prepare)(const char *data, struct error *err); /* the data folder, before the parts start; NULL: nothing */
};

/* Runs until SIGTERM or SIGINT. Returns the command's exit status; errors are printed. */
int runtime_serve(const struct command_context *ctx, const struct runtime_tier *tier);

#endif
