/* `config-docs intro|markdown|example`: the documents that are made from the configuration's schema (`make docs`).
 * Thread: main. */
#include "common/cli/cli.h"
#include "common/cli/print.h"

#include <stdio.h>
#include <string.h>

static int write_docs(const struct cli_program *p, const char *what, struct buf *out) {
    if (!strcmp(what, "markdown")) return config_docs_markdown(p->schema, p->name, p->config_file, out);
    if (!strcmp(what, "example")) return config_docs_example(p->schema, p->name, p->config_file, out);
    if (!strcmp(what, "intro")) return config_docs_intro(out);
    return ERR_INVALID;
}

static int run_config_docs(const struct command_context *ctx) {
    struct buf out;
    buf_init(&out, 0);
    int r = write_docs(ctx->program, ctx->argv[0], &out);
    if (r == 0 && (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout))) r = ERR_CANCELLED;
    buf_fini(&out);
    if (r == ERR_INVALID) return print_usage(ctx, "there is no document \"%s\"", ctx->argv[0]);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

static const char *const words[] = {"intro", "markdown", "example", NULL};

static const struct command_example examples[] = {
    {"config-docs example", "an example file with every key, its default and what it means"},
};

const struct command command_config_docs = {
    .name = "config-docs",
    .usage = "intro|markdown|example",
    .summary = "print documents made from the configuration's schema",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .words = words,
    .n_min = 1,
    .n_max = 1,
    .wanted = "name one document",
    .where = COMMAND_BOTH,
    .hidden = true,
    .no_config = true,
    .run = run_config_docs,
};
