/* Options and the way to a command. Thread: main. */
#include "common/cli/cli.h"

#include "common/core/alloc.h"
#include "common/core/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cli/config_errors.h"
#include "common/cli/print.h"
#include "common/config/nearest.h"
#include "common/core/version.h"

#define SETS_MAX 256
#define COMMANDS_MAX 64

/* The parsed argv. */
struct cli {
    struct command_context ctx; /* ctx.command NULL: none was given */
    struct config_source source;
    const char *sets[SETS_MAX];
    bool help, version;
};

const struct command_option cli_options[] = {
    {"--config", "FILE", "read the configuration from FILE"},
    {"--set", "KEY=VALUE", "set one key over the file, for example --set log.level=debug; repeats"},
    {"--json", NULL, "print tables as JSON"},
    {"--help", NULL, "print this, or help for the command; also -h"},
    {"--version", NULL, "print the version and the commit it was built from"},
};
const size_t cli_n_options = ARRAY_LEN(cli_options);

void cli_print_error(const char *program, const struct error *err) {
    const char *mark = log_journal_mark(STDERR_FILENO, LOG_LEVEL_ERROR);
    fprintf(stderr, "%s%s: %s\n", mark, program, err->msg);
    if (err->hint[0]) fprintf(stderr, "%s  try: %s\n", mark, err->hint);
}

/* --- commands --- */

bool cli_command_fits(const struct cli_program *p, const struct command *c) {
    return c->where & (p->kind == NODE_CENTRAL ? COMMAND_CENTRAL : COMMAND_EDGE);
}

size_t cli_examples(const struct cli_program *p, const struct command *c) {
    return c->n_examples - (p->kind == NODE_CENTRAL ? 0 : c->n_central_examples);
}

const struct command *cli_command(const struct cli_program *p, const char *name) {
    for (size_t i = 0; i < p->n_commands; i++) {
        if (cli_command_fits(p, p->commands[i]) && !strcmp(p->commands[i]->name, name)) return p->commands[i];
    }
    return NULL;
}

int cli_unknown_command(const struct cli_program *p, const char *name) {
    const char *names[COMMANDS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < p->n_commands && n < COMMANDS_MAX; i++) {
        if (cli_command_fits(p, p->commands[i]) && !p->commands[i]->hidden) names[n++] = p->commands[i]->name;
    }
    for (const char *const *other = p->other_commands; other && *other; other++) {
        if (strcmp(*other, name) != 0) continue;
        fprintf(stderr, "%s: there is no command \"%s\" here: it is one of %s\n  try: %s help %s\n", p->name, name,
                p->other_program, p->other_program, name);
        return EXIT_USAGE;
    }
    int near = nearest_word(name, names, n);
    fprintf(stderr, "%s: there is no command \"%s\"\n  try: %s %s\n", p->name, name, p->name,
            near < 0 ? "help" : names[near]);
    return EXIT_USAGE;
}

const char *command_option_value(const struct command_context *ctx, const char *name) {
    for (size_t i = 0; i < ctx->command->n_options; i++) {
        if (!strcmp(ctx->command->options[i].name, name)) return ctx->values[i];
    }
    assert(false && "the command's table has this option");
    return NULL;
}

/* --- arguments --- */

/* Prints what is wrong with an argument, under the command's name if it is known. Returns -1. */
static int wrong(const struct cli *cli, const char *fmt, const char *what) {
    if (cli->ctx.command) {
        char text[300];
        snprintf(text, sizeof text, fmt, what);
        print_usage(&cli->ctx, "%s", text);
    } else {
        fprintf(stderr, "%s: ", cli->ctx.program->name);
        fprintf(stderr, fmt, what);
        fprintf(stderr, "\n  try: %s help\n", cli->ctx.program->name);
    }
    return -1;
}

/* Whether argv[*i] is this option. 1: it is; *value is its value, "" if it takes none, and *i at its last word. 0: it
 * is not. -1: it is, and wrong. */
static int option_take(const struct cli *cli, const struct command_option *o, char **argv, int *i, const char **value) {
    size_t len = strlen(o->name);
    const char *word = argv[*i];
    if (strncmp(word, o->name, len) != 0 || (word[len] && word[len] != '=')) return 0;
    if (!o->value) {
        *value = "";
        return word[len] ? wrong(cli, "%s takes no value", o->name) : 1;
    }
    if (word[len]) {
        *value = word + len + 1;
    } else if (argv[*i + 1]) {
        *value = argv[++*i];
    } else {
        return wrong(cli, "%s needs a value", o->name);
    }
    return 1;
}

/* Finds which of the options argv[*i] is. Returns its number, with *value and *i as above; -1: none; -2: wrong. */
static int options_take(const struct cli *cli, const struct command_option *options, size_t n, char **argv, int *i,
                        const char **value) {
    for (size_t k = 0; k < n; k++) {
        int r = option_take(cli, &options[k], argv, i, value);
        if (r) return r < 0 ? -2 : (int)k;
    }
    return -1;
}

static int set_take(struct cli *cli, const char *value) {
    if (cli->source.n_sets == SETS_MAX) return wrong(cli, "too many --set, the last was %s", value);
    if (!strchr(value, '='))
        return wrong(cli, "--set wants KEY=VALUE, for example log.level=debug, and not \"%s\"", value);
    cli->sets[cli->source.n_sets++] = value;
    return 0;
}

/* One of the options common to all. 0, or -1 if it is wrong. */
static int common_take(struct cli *cli, const char *name, const char *value) {
    if (!strcmp(name, "--config")) cli->source.file = value;
    if (!strcmp(name, "--set")) return set_take(cli, value);
    if (!strcmp(name, "--json")) cli->ctx.json = true;
    if (!strcmp(name, "--help")) cli->help = true;
    if (!strcmp(name, "--version")) cli->version = true;
    return 0;
}

/* A word that begins with '-', and stands before any "--". 0, or -1 if it is wrong. */
static int dash_take(struct cli *cli, char **argv, int *i) {
    const struct command *c = cli->ctx.command;
    const char *value, *word = argv[*i];
    if (!strcmp(word, "-h")) return common_take(cli, "--help", "");
    int k = options_take(cli, cli_options, cli_n_options, argv, i, &value);
    if (k >= 0) return common_take(cli, cli_options[k].name, value);
    if (k == -1 && c) {
        k = options_take(cli, c->options, c->n_options, argv, i, &value);
        if (k >= 0) cli->ctx.values[k] = value;
    }
    return k == -1 ? wrong(cli, "unknown option %s", word) : k < 0 ? -1 : 0;
}

/* After "--" every word is an argument. */
static int arguments_take(struct cli *cli, char **argv) {
    bool ended = false;
    for (int i = 1; argv[i]; i++) {
        if (!ended && !strcmp(argv[i], "--")) {
            ended = true;
        } else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            if (dash_take(cli, argv, &i) < 0) return EXIT_USAGE;
        } else if (cli->ctx.command) {
            cli->ctx.argv[cli->ctx.argc++] = argv[i];
        } else if (!(cli->ctx.command = cli_command(cli->ctx.program, argv[i]))) {
            return cli_unknown_command(cli->ctx.program, argv[i]);
        }
    }
    return EXIT_DONE;
}

/* --- running --- */

static int run_configured(struct cli *cli) {
    const struct cli_program *p = cli->ctx.program;
    struct config_errors errors = {.program = p->name};
    struct node_config *node = NULL;
    struct error err = {0};
    cli->source.default_file = p->config_file;
    cli->ctx.config_path = cli->source.file ? cli->source.file : p->config_file;
    if (cli->ctx.command->makes_config && cli->source.file && access(cli->source.file, F_OK) < 0 && errno == ENOENT) {
        cli->source.default_file = cli->source.file; /* which may be absent */
        cli->source.file = NULL;
    }
    cli->source.sets = cli->sets;
    cli->source.each = config_errors_print;
    cli->source.arg = &errors;
    if (p->load(&cli->source, &node, &err) < 0) {
        config_errors_end(&errors);
        return EXIT_FAILED;
    }
    cli->ctx.node = node;
    cli->ctx.source = &cli->source;
    int status = cli->ctx.command->run(&cli->ctx);
    p->unload(node);
    return status;
}

static int dispatch(struct cli *cli) {
    const struct command_context *ctx = &cli->ctx;
    const struct command *c = ctx->command;
    if (cli->version) {
        printf("%s %s (commit %s)\n", ctx->program->name, entrepot_version, entrepot_commit);
        return EXIT_DONE;
    }
    if (!c) {
        cli_help(cli->help ? stdout : stderr, ctx->program);
        return cli->help ? EXIT_DONE : EXIT_USAGE;
    }
    if (cli->help) {
        cli_help_command(stdout, ctx->program, c);
        return EXIT_DONE;
    }
    if (ctx->argc < c->n_min || (c->n_max != COMMAND_ANY && ctx->argc > c->n_max))
        return print_usage(ctx, "%s", c->n_max ? c->wanted : "takes no arguments");
    /* Commands print their own errors, so only errors are logged; serve sets its own level. */
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, ctx->program->name);
    return c->no_config ? c->run(ctx) : run_configured(cli);
}

int cli_main(int argc, char **argv, const struct cli_program *program) {
    struct cli cli = {.ctx.program = program};
    cli.ctx.argv = xcalloc((size_t)argc + 1, sizeof *cli.ctx.argv);
    int status = arguments_take(&cli, argv);
    if (status == EXIT_DONE) status = dispatch(&cli);
    free(cli.ctx.argv);
    return status;
}
