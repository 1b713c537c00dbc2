/* The command line: options common to all commands, help, and the way to a command. Thread: main. */
#ifndef ENTREPOT_CLI_CLI_H
#define ENTREPOT_CLI_CLI_H

#include "common/cli/command.h"
#include "common/config/config.h"

/* A program as its main knows it. */
struct cli_program {
    const char *name; /* "entrepot-edge" */
    enum node_kind kind;
    const char *config_file; /* the default one */
    const struct config_schema *schema;
    int (*load)(const struct config_source *src, struct node_config **out, struct error *err);
    void (*unload)(struct node_config *node);
    const struct command *const *commands;
    size_t n_commands;
};

/* Runs what argv asks for; returns the exit status. Besides the program's commands there are `help [COMMAND]` and, not
 * listed, `config-docs intro|markdown|example`. `serve --check` ends here: it loads, checks the files named, and says
 * so. */
int cli_main(int argc, char **argv, const struct cli_program *program);
/* "entrepot-edge: MESSAGE" and "  try: HINT" on standard error. */
void cli_print_error(const char *program, const struct error *err);

#endif
