/* The command line: where options may stand, what is refused, and with which exit status. */
#include "common/cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/program.h"
#include "edge/config/edge_config.h"
#include "edge/program.h"

static struct {
    bool json;
    int argc, calls;
    char argv[4][32];
    char depth[32];
    bool tall;
    char listen[64];
} seen;

static int run_seen(const struct command_context *ctx) {
    seen.calls++;
    seen.json = ctx->json;
    seen.argc = ctx->argc;
    for (int i = 0; i < ctx->argc && i < 4; i++)
        snprintf(seen.argv[i], sizeof seen.argv[i], "%s", ctx->argv[i]);
    assert_null(ctx->argv[ctx->argc]);
    if (ctx->command->n_options > 0) {
        const char *depth = command_option_value(ctx, "--depth");
        snprintf(seen.depth, sizeof seen.depth, "%s", depth ? depth : "none");
        seen.tall = command_option_given(ctx, "--tall");
    }
    snprintf(seen.listen, sizeof seen.listen, "%s", ctx->node->registry_listen);
    return EXIT_DONE;
}

static const struct command_option ls_options[] = {
    {"--depth", "N", "how deep to look"},
    {"--tall", NULL, "a line each"},
};
static const struct command ls = {.name = "ls",
                                  .usage = "[--depth N] [--tall] [REPO]",
                                  .summary = "list what is held",
                                  .options = ls_options,
                                  .n_options = ARRAY_LEN(ls_options),
                                  .n_max = 3,
                                  .wanted = "takes at most three repositories",
                                  .where = COMMAND_BOTH,
                                  .run = run_seen};
static const struct command mirror = {
    .name = "mirror", .usage = "REF...", .summary = "central's own", .where = COMMAND_CENTRAL, .run = run_seen};
static const struct command *const commands[] = {&command_serve, &ls, &mirror, &command_help, &command_config_docs};
static const struct cli_program program = {
    .name = "entrepot-edge",
    .kind = NODE_EDGE,
    .config_file = "/nonexistent/edge.yaml",
    .schema = &edge_config_schema,
    .load = edge_config_load,
    .unload = edge_config_free,
    .serve = run_seen,
    .commands = commands,
    .n_commands = ARRAY_LEN(commands),
};

static const struct cli_program *program_under_test = &program;
static char said[16384]; /* standard output, then standard error */

/* Runs cli_main with both outputs going to a file. */
static int run(const char *const *args) {
    char *argv[16] = {(char *)(uintptr_t) "entrepot-edge"};
    int argc = 1;
    for (; *args; args++)
        argv[argc++] = (char *)(uintptr_t)*args;
    memset(&seen, 0, sizeof seen);
    fflush(NULL);
    FILE *f = tmpfile();
    int out = dup(1), err = dup(2);
    dup2(fileno(f), 1);
    dup2(fileno(f), 2);
    int status = cli_main(argc, argv, program_under_test);
    fflush(NULL);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    rewind(f);
    said[fread(said, 1, sizeof said - 1, f)] = '\0';
    fclose(f);
    return status;
}
#define RUN(...) run((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void says(const char *words) {
    if (!strstr(said, words)) fail_msg("\"%s\" not in: %s", words, said);
}

static void options_stand_before_or_after_the_command(void **state) {
    (void)state;
    assert_int_equal(RUN("--json", "--set", "registry.listen=:1", "ls", "a"), EXIT_DONE);
    assert_true(seen.json);
    assert_int_equal(seen.argc, 1);
    assert_string_equal(seen.listen, ":1");
    assert_int_equal(RUN("ls", "a", "--json", "--set=registry.listen=:2", "b"), EXIT_DONE);
    assert_true(seen.json);
    assert_int_equal(seen.argc, 2);
    assert_string_equal(seen.argv[1], "b");
    assert_string_equal(seen.listen, ":2");
    assert_int_equal(RUN("ls", "--", "--json"), EXIT_DONE);
    assert_false(seen.json);
    assert_string_equal(seen.argv[0], "--json");
}

static void a_command_takes_the_options_of_its_table(void **state) {
    (void)state;
    assert_int_equal(RUN("ls", "a", "--depth", "3", "b"), EXIT_DONE);
    assert_string_equal(seen.depth, "3");
    assert_false(seen.tall);
    assert_int_equal(seen.argc, 2);
    assert_int_equal(RUN("ls", "--tall", "--depth=1", "--depth=2"), EXIT_DONE);
    assert_string_equal(seen.depth, "2");
    assert_true(seen.tall);
    assert_int_equal(RUN("ls", "--", "--depth", "--tall"), EXIT_DONE);
    assert_string_equal(seen.depth, "none");
    assert_int_equal(seen.argc, 2);
}

static void an_option_that_is_not_in_the_table_is_wrong_usage(void **state) {
    (void)state;
    assert_int_equal(RUN("ls", "--long"), EXIT_USAGE);
    says("entrepot-edge ls: unknown option --long");
    says("usage: entrepot-edge ls [--depth N] [--tall] [REPO]");
    assert_int_equal(RUN("ls", "--dept", "1"), EXIT_USAGE);
    assert_int_equal(RUN("ls", "--depth"), EXIT_USAGE);
    says("--depth needs a value");
    assert_int_equal(RUN("ls", "--tall=1"), EXIT_USAGE);
    says("--tall takes no value");
    assert_int_equal(RUN("--tall", "ls"), EXIT_USAGE);
    assert_int_equal(RUN("ls", "a", "b", "c", "d"), EXIT_USAGE);
    says("takes at most three repositories");
    assert_int_equal(RUN("serve", "now"), EXIT_USAGE);
    says("takes no arguments");
    assert_int_equal(seen.calls, 0);
}

static void the_last_set_wins(void **state) {
    (void)state;
    assert_int_equal(RUN("ls", "--set", "registry.listen=:1", "--set", "registry.listen=:2"), EXIT_DONE);
    assert_string_equal(seen.listen, ":2");
}

static void no_arguments_print_help_and_are_wrong_usage(void **state) {
    (void)state;
    assert_int_equal(RUN(), EXIT_USAGE);
    says("Commands:");
    says("list what is held");
    assert_null(strstr(said, "mirror REF"));
    assert_null(strstr(said, "config-docs"));
    assert_int_equal(RUN("--help"), EXIT_DONE);
    says("Usage: entrepot-edge");
}

static void help_speaks_of_one_command(void **state) {
    (void)state;
    assert_int_equal(RUN("help", "ls"), EXIT_DONE);
    says("Usage: entrepot-edge ls [--depth N] [--tall] [REPO]");
    assert_int_equal(RUN("ls", "--help"), EXIT_DONE);
    says("Usage: entrepot-edge ls [--depth N] [--tall] [REPO]");
    says("--depth N           how deep to look");
    assert_int_equal(RUN("serve", "--help"), EXIT_DONE);
    says("--check");
    says("entrepot-edge serve --check");
    assert_int_equal(seen.calls, 0);
    assert_int_equal(RUN("help", "lss"), EXIT_USAGE);
    assert_int_equal(RUN("help", "ls", "deep"), EXIT_DONE);
    says("Usage: entrepot-edge ls [--depth N] [--tall] [REPO]");
    assert_int_equal(RUN("--version"), EXIT_DONE);
    says("entrepot-edge ");
}

static void unknown_commands_name_the_nearest(void **state) {
    (void)state;
    assert_int_equal(RUN("srve"), EXIT_USAGE);
    says("there is no command \"srve\"");
    says("try: entrepot-edge serve");
    assert_int_equal(RUN("mirror", "x"), EXIT_USAGE);
    says("there is no command \"mirror\"");
    assert_int_equal(seen.calls, 0);
}

static bool listed(const char *const *names, const char *name) {
    for (; *names; names++)
        if (!strcmp(*names, name)) return true;
    return false;
}

static void commands_of_the_other_tier_name_its_program(void **state) {
    (void)state;
    static const struct cli_program *const tiers[] = {&central_program, &edge_program};
    for (size_t i = 0; i < ARRAY_LEN(tiers); i++) {
        const struct cli_program *here = tiers[i], *there = tiers[1 - i];
        size_t n = 0;
        assert_string_equal(here->other_program, there->name);
        for (size_t k = 0; k < there->n_commands; k++) {
            const char *name = there->commands[k]->name;
            if (cli_command(here, name)) continue;
            if (!listed(here->other_commands, name)) fail_msg("%s does not know of %s", here->name, name);
            n++;
        }
        assert_null(here->other_commands[n]);
    }
    program_under_test = &central_program;
    assert_int_equal(RUN("join", "x"), EXIT_USAGE);
    program_under_test = &program;
    says("there is no command \"join\" here: it is one of entrepot-edge");
    says("try: entrepot-edge help join");
}

static void the_list_of_commands_has_each_usage_whole(void **state) {
    (void)state;
    program_under_test = &central_program;
    assert_int_equal(RUN("help"), EXIT_DONE);
    program_under_test = &program;
    says("| remove EDGE | allow EDGE\n");
    says("[--server ADDRESS]\n");
}

static void wrong_options_are_wrong_usage(void **state) {
    (void)state;
    assert_int_equal(RUN("--nope", "ls"), EXIT_USAGE);
    says("unknown option --nope");
    assert_int_equal(RUN("ls", "--set"), EXIT_USAGE);
    says("--set needs a value");
    assert_int_equal(RUN("ls", "--config"), EXIT_USAGE);
    assert_int_equal(RUN("--check", "ls"), EXIT_USAGE);
}

static void check_validates_and_ends(void **state) {
    (void)state;
    assert_int_equal(RUN("serve", "--check", "--set", "prefetch.rate=20Mbit/s"), EXIT_DONE);
    says("configuration is valid");
    says("warning: prefetch.rate has no effect in this version");
    assert_int_equal(seen.calls, 0);
    assert_int_equal(RUN("serve", "--check", "--set", "registry={cert_file: /nonexistent/c, key_file: /nonexistent/k}"),
                     EXIT_FAILED);
    says("cert_file: cannot read /nonexistent/c");
}

static void a_bad_configuration_fails_and_says_where(void **state) {
    (void)state;
    assert_int_equal(RUN("ls", "--set", "store.limt=1"), EXIT_FAILED);
    says("--set store.limt=1: unknown key \"store.limt\"; did you mean \"store.limit\"?");
    assert_int_equal(RUN("ls", "--config", "/nonexistent/x"), EXIT_FAILED);
    says("/nonexistent/x");
    assert_int_equal(seen.calls, 0);
}

static void config_docs_needs_one_known_word(void **state) {
    (void)state;
    assert_int_equal(RUN("config-docs", "example"), EXIT_DONE);
    says("#central: http://127.0.0.1:5001");
    assert_int_equal(RUN("config-docs", "markdown"), EXIT_DONE);
    says("| `central` |");
    assert_int_equal(RUN("config-docs"), EXIT_USAGE);
    assert_int_equal(RUN("config-docs", "nope"), EXIT_USAGE);
}

/* Every word of an example that looks like an option is one. */
static bool has_option(const struct command *c, const char *word, size_t len) {
    for (size_t i = 0; i < c->n_options; i++)
        if (strlen(c->options[i].name) == len && !strncmp(c->options[i].name, word, len)) return true;
    for (size_t i = 0; i < cli_n_options; i++)
        if (strlen(cli_options[i].name) == len && !strncmp(cli_options[i].name, word, len)) return true;
    return false;
}

static void check_example(const struct command *c, const struct command_example *e) {
    size_t len = strlen(c->name);
    if (strncmp(e->line, c->name, len) || (e->line[len] && e->line[len] != ' '))
        fail_msg("%s: the example \"%s\" is of another command", c->name, e->line);
    for (const char *p = e->line; (p = strstr(p, " --")); p++) {
        if (!has_option(c, p + 1, strcspn(p + 1, " ="))) fail_msg("%s: no option is \"%s\"", c->name, p + 1);
    }
}

static void check_table(const struct command *c) {
    assert_true(c->name[0] && c->summary[0] && c->usage && c->run && c->where);
    assert_true(c->n_options <= COMMAND_OPTIONS_MAX);
    assert_true(c->n_max == 0 || c->wanted);
    assert_true(c->n_max == COMMAND_ANY || c->n_max >= c->n_min);
    assert_true(c->n_examples > 0);
    for (size_t i = 0; i < c->n_examples; i++)
        check_example(c, &c->examples[i]);
    for (size_t i = 0; i < c->n_options; i++) {
        const struct command_option *o = &c->options[i];
        if (strncmp(o->name, "--", 2) || !strstr(c->usage, o->name)) fail_msg("%s: usage lacks %s", c->name, o->name);
        for (size_t k = 0; k < cli_n_options; k++)
            assert_string_not_equal(o->name, cli_options[k].name);
    }
    for (size_t i = 0; c->words && c->words[i]; i++)
        if (!strstr(c->usage, c->words[i])) fail_msg("%s: usage lacks %s", c->name, c->words[i]);
}

static void every_command_s_table_is_whole(void **state) {
    (void)state;
    static const struct cli_program *const programs[] = {&central_program, &edge_program};
    for (size_t p = 0; p < ARRAY_LEN(programs); p++) {
        assert_true(programs[p]->n_commands >= 10);
        for (size_t i = 0; i < programs[p]->n_commands; i++)
            check_table(programs[p]->commands[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_before_or_after_the_command),
        cmocka_unit_test(a_command_takes_the_options_of_its_table),
        cmocka_unit_test(an_option_that_is_not_in_the_table_is_wrong_usage),
        cmocka_unit_test(every_command_s_table_is_whole),
        cmocka_unit_test(the_last_set_wins),
        cmocka_unit_test(no_arguments_print_help_and_are_wrong_usage),
        cmocka_unit_test(help_speaks_of_one_command),
        cmocka_unit_test(unknown_commands_name_the_nearest),
        cmocka_unit_test(commands_of_the_other_tier_name_its_program),
        cmocka_unit_test(the_list_of_commands_has_each_usage_whole),
        cmocka_unit_test(wrong_options_are_wrong_usage),
        cmocka_unit_test(check_validates_and_ends),
        cmocka_unit_test(a_bad_configuration_fails_and_says_where),
        cmocka_unit_test(config_docs_needs_one_known_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
