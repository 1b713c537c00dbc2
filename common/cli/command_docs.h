/* What packages install beside a program, made from its tables of commands, options and configuration keys. Thread:
 * main. */
#ifndef ENTREPOT_CLI_COMMAND_DOCS_H
#define ENTREPOT_CLI_COMMAND_DOCS_H

#include <stdio.h>

#include "common/cli/cli.h"

/* The man page of section 1, as roff. */
void man_page_write(FILE *out, const struct cli_program *program);
/* A script that bash reads to complete the program's arguments. */
void completion_write(FILE *out, const struct cli_program *program);

#endif
