/* `serve`: runs the node; with --check it only reads the configuration, as a start would. Thread: main, which becomes
 * the control thread. */
#include "common/cli/cli.h"

#include <stdio.h>

#include "common/cli/config_errors.h"
#include "common/http/client.h"
#include "common/http/tls.h"

/* As the node would load it. */
static int certificate_check(const struct command_context *ctx) {
    const struct node_config *node = ctx->node;
    struct error err = {0};
    struct tls_server *tls;
    if (!node->registry_cert_file || !node->registry_key_file) return 0;
    int r = tls_server_new(&tls, node->registry_cert_file, node->registry_key_file, &err);
    if (r == 0)
        tls_server_free(tls);
    else
        cli_print_error(ctx->program->name, &err);
    return r;
}

/* Only central uses them: an edge asks central alone. */
static int proxies_check(const struct command_context *ctx) {
    struct error err = {0};
    int r = http_proxies_check(&err);
    if (r < 0) cli_print_error(ctx->program->name, &err);
    return r;
}

static int check(const struct command_context *ctx) {
    const struct node_config *node = ctx->node;
    struct config_errors errors = {.program = ctx->program->name};
    size_t n_bad = config_check_files(node, config_errors_print, &errors);
    config_errors_end(&errors);
    if (n_bad == 0 && certificate_check(ctx) < 0) n_bad++;
    if (node->kind == NODE_CENTRAL && proxies_check(ctx) < 0) n_bad++;
    if (n_bad > 0) return EXIT_FAILED;
    for (size_t i = 0; i < node->n_no_effect; i++)
        fprintf(stderr, "%s: warning: %s has no effect in this version\n", ctx->program->name, node->no_effect[i]);
    if (node->note) fprintf(stderr, "%s: note: %s\n", ctx->program->name, node->note);
    printf("configuration is valid: %s\n", node->config_file ? node->config_file : "defaults, no file");
    return EXIT_DONE;
}

static int run_serve(const struct command_context *ctx) {
    return command_option_given(ctx, "--check") ? check(ctx) : ctx->program->serve(ctx);
}

static const struct command_option options[] = {
    {"--check", NULL,
     "check the configuration, the files it names and (central) the proxies of the environment, then end"},
};

static const struct command_example examples[] = {
    {"serve", "run with the default configuration file"},
    {"serve --check --config ./node.yaml", "say whether a configuration is good, and if not, what is wrong"},
};

const struct command command_serve = {
    .name = "serve",
    .usage = "[--check]",
    .summary = "run the node until it is told to stop",
    .description =
        "SIGTERM or SIGINT stops it: it takes no new connections and lets running answers end. SIGHUP makes it\n"
        "read its certificates again, and central its sites and the records of its DNS.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_BOTH,
    .run = run_serve,
};
