/* `command-docs man|bash-completion`: what `make install` puts beside the program. Thread: main. */
#include "common/cli/command_docs.h"
#include "common/cli/print.h"

#include <string.h>

static int run_command_docs(const struct command_context *ctx) {
    const char *what = ctx->argv[0];
    if (!strcmp(what, "man")) {
        man_page_write(stdout, ctx->program);
    } else if (!strcmp(what, "bash-completion")) {
        completion_write(stdout, ctx->program);
    } else {
        return print_usage(ctx, "there is no document \"%s\"", what);
    }
    return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static const char *const words[] = {"man", "bash-completion", NULL};

static const struct command_example examples[] = {
    {"command-docs man", "the man page"},
};

const struct command command_command_docs = {
    .name = "command-docs",
    .usage = "man|bash-completion",
    .summary = "print documents made from the tables of commands",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .words = words,
    .n_min = 1,
    .n_max = 1,
    .wanted = "name one document",
    .where = COMMAND_BOTH,
    .hidden = true,
    .no_config = true,
    .run = run_command_docs,
};
