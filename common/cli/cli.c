/* Options, help, and the way to a command. Thread: main. */
#include "common/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "common/core/version.h"
#include "common/http/tls.h"
#include "common/config/nearest.h"

#define SETS_MAX 256
#define COMMANDS_MAX 64
#define ERRORS_MAX 50

/* argv taken apart. */
struct cli {
    const struct cli_program *program;
    struct config_source source;
    const char *sets[SETS_MAX];
    bool json, check, help, version;
    const char *command; /* NULL: none was given */
    char **rest;         /* what is the command's own, NULL-ended */
    int n_rest;
};

void cli_print_error(const char *program, const struct error *err) {
    fprintf(stderr, "%s: %s\n", program, err->msg);
    if (err->hint[0]) fprintf(stderr, "  try: %s\n", err->hint);
}

static int usage_error(const struct cli *cli, const char *fmt, const char *what) {
    fprintf(stderr, "%s: ", cli->program->name);
    fprintf(stderr, fmt, what);
    fprintf(stderr, "\n  try: %s help\n", cli->program->name);
    return EXIT_USAGE;
}

/* --- help --- */

static bool command_fits(const struct cli_program *p, const struct command *c) {
    return c->where & (p->kind == NODE_CENTRAL ? COMMAND_CENTRAL : COMMAND_EDGE);
}

static const struct command *command_find(const struct cli_program *p, const char *name) {
    for (size_t i = 0; i < p->n_commands; i++) {
        if (command_fits(p, p->commands[i]) && !strcmp(p->commands[i]->name, name)) return p->commands[i];
    }
    return NULL;
}

static void help_options(FILE *out, const struct cli_program *p) {
    fprintf(out,
            "\nOptions, before or after the command:\n"
            "  --config FILE       configuration; default %s, which may be absent\n"
            "  --set KEY=VALUE     set one key over the file, for example --set log.level=debug; repeats\n"
            "  --json              print tables as JSON\n"
            "  --help, -h          this, or help for the command\n"
            "  --version           print the version and the commit it was built from\n",
            p->config_file);
}

static void help_all(FILE *out, const struct cli_program *p) {
    fprintf(out, "%s: %s\n\nUsage: %s [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n", p->name,
            p->kind == NODE_CENTRAL ? "mirrors upstream registries and serves the edges of a company"
                                    : "serves container images to a branch from local disk",
            p->name);
    for (size_t i = 0; i < p->n_commands; i++) {
        const struct command *c = p->commands[i];
        char left[64];
        if (!command_fits(p, c)) continue;
        snprintf(left, sizeof left, "%s%s%s", c->name, c->usage && *c->usage ? " " : "", c->usage ? c->usage : "");
        fprintf(out, "  %-24s%s%s\n", left, strlen(left) >= 24 ? "\n                          " : "", c->summary);
    }
    fprintf(out, "  %-24s%s\n", "help [COMMAND]", "say more about a command");
    help_options(out, p);
}

static void help_command(const struct cli_program *p, const struct command *c) {
    printf("Usage: %s %s%s%s\n\n%s\n", p->name, c->name, c->usage && *c->usage ? " " : "", c->usage ? c->usage : "",
           c->summary);
    if (!strcmp(c->name, "serve"))
        printf("\n  --check             check the configuration and the files it names, then end\n");
    help_options(stdout, p);
}

static int unknown_command(const struct cli *cli, const char *name) {
    const char *names[COMMANDS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < cli->program->n_commands && n < COMMANDS_MAX - 1; i++) {
        if (command_fits(cli->program, cli->program->commands[i])) names[n++] = cli->program->commands[i]->name;
    }
    names[n++] = "help";
    int near = nearest_word(name, names, n);
    if (near < 0) return usage_error(cli, "there is no command \"%s\"", name);
    fprintf(stderr, "%s: there is no command \"%s\"\n  try: %s %s\n", cli->program->name, name, cli->program->name,
            names[near]);
    return EXIT_USAGE;
}

static int run_help(const struct cli *cli, const char *name) {
    if (!name) {
        help_all(stdout, cli->program);
        return EXIT_DONE;
    }
    const struct command *c = command_find(cli->program, name);
    if (!c) return unknown_command(cli, name);
    help_command(cli->program, c);
    return EXIT_DONE;
}

/* --- arguments --- */

/* If argv[*i] is NAME or NAME=VALUE: 1 and the value (moving *i past it); 0: it is not; EXIT_USAGE told otherwise. */
static int option_value(const struct cli *cli, int argc, char **argv, int *i, const char *name, const char **value) {
    size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0) return 0;
    if (argv[*i][len] == '=') {
        *value = argv[*i] + len + 1;
        return 1;
    }
    if (argv[*i][len]) return 0;
    if (*i + 1 >= argc) {
        usage_error(cli, "%s needs a value", name);
        return -1;
    }
    *value = argv[++*i];
    return 1;
}

/* One option common to all commands. 1: taken, 0: not one of them, -1: wrong. */
static int option_take(struct cli *cli, int argc, char **argv, int *i) {
    const char *value;
    int r = option_value(cli, argc, argv, i, "--config", &value);
    if (r > 0) cli->source.file = value;
    if (r) return r;
    r = option_value(cli, argc, argv, i, "--set", &value);
    if (r > 0) {
        if (cli->source.n_sets == SETS_MAX) {
            usage_error(cli, "too many --set, the last was %s", value);
            return -1;
        }
        if (!strchr(value, '=')) {
            usage_error(cli, "--set wants KEY=VALUE, for example log.level=debug, and not \"%s\"", value);
            return -1;
        }
        cli->sets[cli->source.n_sets++] = value;
    }
    if (r) return r;
    bool *flag = !strcmp(argv[*i], "--json")                                                      ? &cli->json
                 : !strcmp(argv[*i], "--version")                                                 ? &cli->version
                 : !strcmp(argv[*i], "--help") || !strcmp(argv[*i], "-h")                         ? &cli->help
                 : cli->command && !strcmp(cli->command, "serve") && !strcmp(argv[*i], "--check") ? &cli->check
                                                                                                  : NULL;
    if (flag) *flag = true;
    return flag ? 1 : 0;
}

/* After "--" everything is the command's own; it is passed on without the "--". */
static int arguments_take(struct cli *cli, int argc, char **argv) {
    bool ended = false;
    for (int i = 1; i < argc; i++) {
        int r = ended ? 0 : option_take(cli, argc, argv, &i);
        if (r < 0) return EXIT_USAGE;
        if (r > 0) continue;
        if (!ended && !strcmp(argv[i], "--")) {
            ended = true;
        } else if (cli->command) {
            cli->rest[cli->n_rest++] = argv[i];
        } else if (!ended && argv[i][0] == '-') {
            return usage_error(cli, "unknown option %s", argv[i]);
        } else {
            cli->command = argv[i];
        }
    }
    cli->rest[cli->n_rest] = NULL;
    return EXIT_DONE;
}

/* --- running --- */

static int run_config_docs(const struct cli *cli) {
    const struct cli_program *p = cli->program;
    const char *what = cli->n_rest == 1 ? cli->rest[0] : "";
    struct buf out;
    buf_init(&out, 0);
    int r = ERR_INVALID;
    if (!strcmp(what, "markdown")) {
        r = config_docs_markdown(p->schema, p->name, p->config_file, &out);
    } else if (!strcmp(what, "example")) {
        r = config_docs_example(p->schema, p->name, p->config_file, &out);
    } else if (!strcmp(what, "intro")) {
        r = config_docs_intro(&out);
    }
    if (r == 0 && (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout))) r = -1;
    buf_fini(&out);
    if (r == ERR_INVALID) return usage_error(cli, "usage: config-docs %s", "intro|markdown|example");
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* Printing the errors of a configuration, of which a wrong file may have thousands. */
struct error_printer {
    const char *program;
    size_t n;
};

static void print_each(const struct error *err, void *arg) {
    struct error_printer *p = arg;
    if (p->n++ < ERRORS_MAX) cli_print_error(p->program, err);
}

static void print_rest(const struct error_printer *p) {
    if (p->n > ERRORS_MAX) fprintf(stderr, "%s: and %zu more errors\n", p->program, p->n - ERRORS_MAX);
}

/* As the node would load it. */
static int check_certificate(const struct cli *cli, const struct node_config *node) {
    struct error err = {0};
    struct tls_server *tls;
    if (!node->registry_cert_file || !node->registry_key_file) return 0;
    int r = tls_server_new(&tls, node->registry_cert_file, node->registry_key_file, &err);
    if (r == 0)
        tls_server_free(tls);
    else
        cli_print_error(cli->program->name, &err);
    return r;
}

static int finish_check(const struct cli *cli, const struct node_config *node) {
    if (cli->n_rest > 0) return usage_error(cli, "serve --check takes no argument: %s", cli->rest[0]);
    struct error_printer p = {.program = cli->program->name};
    if (config_check_files(node, print_each, &p) > 0) {
        print_rest(&p);
        return EXIT_FAILED;
    }
    if (check_certificate(cli, node) < 0) return EXIT_FAILED;
    for (size_t i = 0; i < node->n_no_effect; i++)
        fprintf(stderr, "%s: warning: %s has no effect in this version\n", cli->program->name, node->no_effect[i]);
    if (node->note) fprintf(stderr, "%s: note: %s\n", cli->program->name, node->note);
    printf("configuration is valid: %s\n", node->config_file ? node->config_file : "defaults, no file");
    return EXIT_DONE;
}

static int run_command(const struct cli *cli, const struct command *c) {
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR,
             cli->program->name); /* commands speak for themselves; serve sets its own */
    struct error err = {0};
    struct node_config *node = NULL;
    struct error_printer p = {.program = cli->program->name};
    struct config_source source = cli->source;
    source.each = print_each;
    source.arg = &p;
    if (cli->program->load(&source, &node, &err) < 0) {
        print_rest(&p);
        return EXIT_FAILED;
    }
    struct command_context ctx = {
        .node = node, .json = cli->json, .check = cli->check, .argc = cli->n_rest, .argv = cli->rest};
    int status = cli->check ? finish_check(cli, node) : c->run(&ctx);
    cli->program->unload(node);
    return status;
}

static int dispatch(const struct cli *cli) {
    if (cli->version) {
        printf("%s %s (commit %s)\n", cli->program->name, entrepot_version, entrepot_commit);
        return EXIT_DONE;
    }
    if (!cli->command) {
        help_all(cli->help ? stdout : stderr, cli->program);
        return cli->help ? EXIT_DONE : EXIT_USAGE;
    }
    if (!strcmp(cli->command, "help")) return run_help(cli, cli->rest[0]);
    if (!strcmp(cli->command, "config-docs")) return run_config_docs(cli);
    const struct command *c = command_find(cli->program, cli->command);
    if (!c) return unknown_command(cli, cli->command);
    if (cli->help) return run_help(cli, c->name);
    return run_command(cli, c);
}

int cli_main(int argc, char **argv, const struct cli_program *program) {
    struct cli cli = {.program = program};
    cli.source.default_file = program->config_file;
    cli.source.sets = cli.sets;
    cli.rest = calloc((size_t)argc + 2, sizeof *cli.rest);
    if (!cli.rest) abort();
    int status = arguments_take(&cli, argc, argv);
    if (status == EXIT_DONE) status = dispatch(&cli);
    free(cli.rest);
    return status;
}
