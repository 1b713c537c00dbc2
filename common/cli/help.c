/* `help [COMMAND]`: all commands, or one with its options and examples, from the commands' own tables. Thread: main. */
#include "common/cli/cli.h"

#include <string.h>

enum { LEFT = 24, OPTION_LEFT = 20 };

static void option_line(FILE *out, const struct command_option *o) {
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
    fprintf(out, "  %-*s%s\n", OPTION_LEFT, left, o->meaning);
}

static void options_of_all(FILE *out, const struct cli_program *p) {
    fprintf(out, "\nOptions, before or after the command:\n");
    for (size_t i = 0; i < cli_n_options; i++)
        option_line(out, &cli_options[i]);
    fprintf(out, "\nWithout --config, %s is read if it is there.\n", p->config_file);
}

void cli_help(FILE *out, const struct cli_program *p) {
    fprintf(out, "%s: %s\n\nUsage: %s [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n", p->name, p->summary, p->name);
    for (size_t i = 0; i < p->n_commands; i++) {
        const struct command *c = p->commands[i];
        char left[80];
        if (!cli_command_fits(p, c) || c->hidden) continue;
        snprintf(left, sizeof left, "%s%s%s", c->name, *c->usage ? " " : "", c->usage);
        fprintf(out, "  %-*s%s%s\n", LEFT, left, strlen(left) >= LEFT ? "\n                          " : "",
                c->summary);
    }
    options_of_all(out, p);
}

void cli_help_command(FILE *out, const struct cli_program *p, const struct command *c) {
    fprintf(out, "Usage: %s %s%s%s\n\n%s: %s.\n", p->name, c->name, *c->usage ? " " : "", c->usage, c->name,
            c->summary);
    if (c->description) fprintf(out, "\n%s\n", c->description);
    for (size_t i = 0; i < c->n_options; i++) {
        if (i == 0) fprintf(out, "\nOptions of %s:\n", c->name);
        option_line(out, &c->options[i]);
    }
    for (size_t i = 0; i < c->n_examples; i++) {
        if (i == 0) fprintf(out, "\nExamples:\n");
        fprintf(out, "  %s %s\n      %s\n", p->name, c->examples[i].line, c->examples[i].what);
    }
    options_of_all(out, p);
}

static int run_help(const struct command_context *ctx) {
    if (ctx->argc == 0) {
        cli_help(stdout, ctx->program);
        return EXIT_DONE;
    }
    const struct command *c = cli_command(ctx->program, ctx->argv[0]);
    if (!c) return cli_unknown_command(ctx->program, ctx->argv[0]);
    cli_help_command(stdout, ctx->program, c);
    return EXIT_DONE;
}

static const struct command_example examples[] = {
    {"help prune", "what `prune` does, its options and an example"},
};

const struct command command_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "say more about a command",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .n_max = 1,
    .wanted = "takes at most one command",
    .where = COMMAND_BOTH,
    .no_config = true,
    .run = run_help,
};
