/* `help [COMMAND]`: all commands, or one with its options and examples, from the commands' own tables. Thread: main. */
#include "common/cli/cli.h"

#include <string.h>

enum { LEFT = 24, OPTION_LEFT = 20, WIDE = 100, USAGE_LEFT = 6 };

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

/* The length of the first alternative of a usage: up to a " |" outside of brackets. */
static size_t alternative(const char *usage) {
    size_t n = 0;
    for (int depth = 0; usage[n] && (n == 0 || depth > 0 || strncmp(usage + n, " |", 2) != 0); n++)
        depth += usage[n] == '[' ? 1 : usage[n] == ']' ? -1 : 0;
    return n;
}

/* "NAME USAGE" whole, on as many lines as it takes; returns the column it ends at, WIDE if it took several. */
static size_t usage_lines(FILE *out, const struct command *c) {
    size_t column = 2 + strlen(c->name);
    bool wrapped = false;
    fprintf(out, "  %s", c->name);
    for (const char *p = c->usage; *p;) {
        size_t n = alternative(p);
        bool next_line = column + 1 + n > WIDE;
        fprintf(out, "%s%*s%.*s", next_line ? "\n" : "", next_line ? USAGE_LEFT : 1, "", (int)n, p);
        column = (next_line ? (size_t)USAGE_LEFT : column + 1) + n;
        wrapped = wrapped || next_line;
        p += n + (p[n] == ' ');
    }
    return wrapped ? WIDE : column;
}

void cli_help(FILE *out, const struct cli_program *p) {
    fprintf(out, "%s: %s\n\nUsage: %s [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n", p->name, p->summary, p->name);
    for (size_t i = 0; i < p->n_commands; i++) {
        const struct command *c = p->commands[i];
        if (!cli_command_fits(p, c) || c->hidden) continue;
        size_t column = usage_lines(out, c);
        if (column >= LEFT + 2) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%*s%s\n", (int)(LEFT + 2 - column), "", c->summary);
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
    for (size_t i = 0; i < cli_examples(p, c); i++) {
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
    .n_max = COMMAND_ANY, /* `help edge invite`: the help of a command has its words, too */
    .wanted = "takes a command",
    .where = COMMAND_BOTH,
    .no_config = true,
    .run = run_help,
};
