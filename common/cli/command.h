/* The description of a subcommand. Each has its own file with one table entry. The command line is parsed from these
 * tables, and `help`, man pages and completion are made from them. So a new option is one line in its command's table.
 * All values are static and immutable. Thread: main, before any other is started (serve starts the others). */
#ifndef ENTREPOT_CLI_COMMAND_H
#define ENTREPOT_CLI_COMMAND_H

#include "common/config/config.h"
#include "common/config/node_config.h"

struct cli_program;
struct command;

/* An option: "--NAME", or "--NAME VALUE", which may also be written "--NAME=VALUE". Given twice, the last one counts.
 */
struct command_option {
    const char *name;    /* "--platform" */
    const char *value;   /* what stands for its value in help, "OS/ARCH"; NULL: it takes none */
    const char *meaning; /* for help: one line, without a full stop */
};

/* A line that a person may type, and what it does. */
struct command_example {
    const char *line; /* after the program's name: "prune --to 10GiB" */
    const char *what; /* "evict until at most 10 GiB are held" */
};

enum { COMMAND_OPTIONS_MAX = 16, COMMAND_ANY = -1 };

/* What a command gets. */
struct command_context {
    const struct cli_program *program;
    const struct command *command;
    const struct config_source *source;      /* what node was loaded from; NULL: no_config */
    const struct node_config *node;          /* first member of the node's own config struct; NULL: no_config */
    const char *config_path;                 /* the configuration file by --config, or the default one; may be absent */
    bool json;                               /* --json */
    int argc;                                /* its arguments, options taken out */
    char **argv;                             /* NULL-ended */
    const char *values[COMMAND_OPTIONS_MAX]; /* of its options, in the table's order: command_option_value */
};

enum { COMMAND_CENTRAL = 1, COMMAND_EDGE = 2, COMMAND_BOTH = 3 };
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name;
    const char *usage;                      /* after the name, options included: "[--all] REF..."; "": none */
    const char *summary;                    /* one line for the list of commands, without a full stop */
    const char *description;                /* paragraphs for its help, in whole sentences; NULL: none */
    const struct command_option *options;   /* its own */
    size_t n_options;                       /* at most COMMAND_OPTIONS_MAX */
    const struct command_example *examples; /* at least one */
    size_t n_examples;
    size_t n_central_examples; /* the last so many are shown by central alone */
    const char *const *words;  /* what its argument may be, where that is a fixed list; NULL-ended */
    int n_min, n_max;          /* how many arguments; n_max COMMAND_ANY: no limit */
    const char *wanted;        /* what to say when there are fewer or more; needed if n_max > 0 */
    unsigned where;            /* COMMAND_* */
    bool hidden;               /* not in the list of commands: for the build and for packages */
    bool no_config;            /* runs without reading the configuration */
    bool makes_config;         /* --config may name a file that is not there yet */
    int (*run)(const struct command_context *ctx); /* exit status; prints its own errors to stderr */
};

/* The value of one of the command's options, "" if it takes none; NULL: it was not given. */
const char *command_option_value(const struct command_context *ctx, const char *name);
static inline bool command_option_given(const struct command_context *ctx, const char *name) {
    return command_option_value(ctx, name) != NULL;
}

/* Each in its own file common/cli/NAME.c (or central/, edge/ for those of one tier only). */
extern const struct command command_serve, command_status, command_doctor, command_ls, command_df, command_prune,
    command_verify, command_client_config, command_pull, command_help, command_config_docs, command_command_docs;

#endif
