/* The command line: where options may stand, what is refused, and with which exit status. */
#include "common/cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/config/edge_config.h"

static struct {
    bool json;
    int argc, calls;
    char argv[4][32];
    char listen[64];
} seen;

static int run_seen(const struct command_context *ctx) {
    seen.calls++;
    seen.json = ctx->json;
    seen.argc = ctx->argc;
    for (int i = 0; i < ctx->argc && i < 4; i++)
        snprintf(seen.argv[i], sizeof seen.argv[i], "%s", ctx->argv[i]);
    assert_null(ctx->argv[ctx->argc]);
    snprintf(seen.listen, sizeof seen.listen, "%s", ctx->node->registry_listen);
    return EXIT_DONE;
}

static const struct command serve = {
    .name = "serve", .usage = "", .summary = "run it", .where = COMMAND_BOTH, .run = run_seen};
static const struct command ls = {
    .name = "ls", .usage = "[REPO]", .summary = "list what is held", .where = COMMAND_BOTH, .run = run_seen};
static const struct command mirror = {
    .name = "mirror", .usage = "REF...", .summary = "central's own", .where = COMMAND_CENTRAL, .run = run_seen};
static const struct command *const commands[] = {&serve, &ls, &mirror};
static const struct cli_program program = {
    .name = "entrepot-edge",
    .kind = NODE_EDGE,
    .config_file = "/nonexistent/edge.yaml",
    .schema = &edge_config_schema,
    .load = edge_config_load,
    .unload = edge_config_free,
    .commands = commands,
    .n_commands = ARRAY_LEN(commands),
};

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
    int status = cli_main(argc, argv, &program);
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
    assert_int_equal(RUN("ls", "a", "--json", "--set=registry.listen=:2", "--long", "b"), EXIT_DONE);
    assert_true(seen.json);
    assert_int_equal(seen.argc, 3);
    assert_string_equal(seen.argv[1], "--long");
    assert_string_equal(seen.listen, ":2");
    assert_int_equal(RUN("ls", "--", "--json"), EXIT_DONE);
    assert_false(seen.json);
    assert_string_equal(seen.argv[0], "--json");
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
    says("Usage: entrepot-edge ls [REPO]");
    assert_int_equal(RUN("ls", "--help"), EXIT_DONE);
    says("Usage: entrepot-edge ls [REPO]");
    assert_int_equal(seen.calls, 0);
    assert_int_equal(RUN("help", "lss"), EXIT_USAGE);
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
    assert_int_equal(RUN("serve", "--check", "--set", "site=shanghai"), EXIT_DONE);
    says("configuration is valid");
    says("warning: site has no effect in this version");
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_before_or_after_the_command),
        cmocka_unit_test(the_last_set_wins),
        cmocka_unit_test(no_arguments_print_help_and_are_wrong_usage),
        cmocka_unit_test(help_speaks_of_one_command),
        cmocka_unit_test(unknown_commands_name_the_nearest),
        cmocka_unit_test(wrong_options_are_wrong_usage),
        cmocka_unit_test(check_validates_and_ends),
        cmocka_unit_test(a_bad_configuration_fails_and_says_where),
        cmocka_unit_test(config_docs_needs_one_known_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
