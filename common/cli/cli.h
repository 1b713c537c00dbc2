/* The command line: options common to all commands, and the way to a command. Thread: main. */
#ifndef ENTREPOT_CLI_CLI_H
#define ENTREPOT_CLI_CLI_H

#include <stdio.h>

#include "common/admin/engine_files.h"
#include "common/cli/client_dns.h"
#include "common/cli/command.h"

/* A program as its main knows it. */
struct cli_program {
    const char *name;    /* "entrepot-edge" */
    const char *summary; /* one line for help, without a full stop */
    enum node_kind kind;
    const char *config_file; /* the default one */
    const struct config_schema *schema;
    int (*load)(const struct config_source *src, struct node_config **out, struct error *err);
    void (*unload)(struct node_config *node);
    /* `serve`, once the configuration is loaded; the exit status. */
    int (*serve)(const struct command_context *ctx);
    /* For client-config while no daemon runs: the configured upstreams, borrowed from node. NULL: the default ones. */
    void (*upstreams)(const struct node_config *node, struct client_upstreams *out);
    /* For client-config dns: the zone and its servers, borrowed from node. NULL: this program knows none. */
    void (*dns)(const struct node_config *node, struct client_dns *out);
    const struct command *const *commands; /* in the order of help, those that are hidden last */
    size_t n_commands;
    /* The commands that only the other tier's program has, NULL-ended, and its name: for who types them here. */
    const char *const *other_commands;
    const char *other_program;
};

/* The options that every command takes, in the order of help. */
extern const struct command_option cli_options[];
extern const size_t cli_n_options;

/* Runs what argv asks for; returns the exit status. */
int cli_main(int argc, char **argv, const struct cli_program *program);

/* The command of that name that fits this program, also a hidden one; NULL: there is none. */
const struct command *cli_command(const struct cli_program *program, const char *name);
bool cli_command_fits(const struct cli_program *program, const struct command *c);
/* How many of its examples this program shows: the first ones. */
size_t cli_examples(const struct cli_program *program, const struct command *c);
/* What `help` prints of all commands, and of one. */
void cli_help(FILE *out, const struct cli_program *program);
void cli_help_command(FILE *out, const struct cli_program *program, const struct command *c);

/* "entrepot-edge: MESSAGE" and "  try: HINT" on standard error. */
void cli_print_error(const char *program, const struct error *err);
/* "there is no command NAME" and the nearest one, or the program that has it, on standard error; EXIT_USAGE. */
int cli_unknown_command(const struct cli_program *program, const char *name);

#endif
