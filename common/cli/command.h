/* Subcommands: one file each, one table entry each. Thread: main, before any other is started (serve starts the
 * others). */
#ifndef ENTREPOT_CLI_COMMAND_H
#define ENTREPOT_CLI_COMMAND_H

#include "common/config/node_config.h"

/* What a command gets: the loaded configuration and its own arguments after its name (options common to all are already
 * taken out). */
struct command_context {
    const struct node_config *node; /* first member of the node's own config struct */
    bool json;                      /* --json */
    bool check;                     /* serve --check */
    int argc;                       /* positional arguments and the command's own options */
    char **argv;
};

enum { COMMAND_CENTRAL = 1, COMMAND_EDGE = 2, COMMAND_BOTH = 3 };
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name;
    const char *usage;                             /* after the name: "[REPO]" */
    const char *summary;                           /* one line for help */
    unsigned where;                                /* COMMAND_* */
    int (*run)(const struct command_context *ctx); /* exit status; prints its own errors to stderr */
};

/* Each in its own file common/cli/NAME.c (or central/, edge/ for those of one tier only). */
extern const struct command command_status, command_doctor, command_ls, command_df, command_prune, command_verify,
    command_client_config, command_pull;

#endif
