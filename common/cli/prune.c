/* `prune`: evicts what may be evicted, down to a size. Thread: main. */
#include "common/cli/command.h"

#include "common/core/json.h"
#include "common/admin/control_client.h"
#include "common/admin/store_alone.h"
#include "common/cli/print.h"
#include "common/config/units.h"

#include <string.h>

/* Without a daemon. */
static int prune_alone(const struct command_context *ctx, int64_t target, json_t **out, struct error *err) {
    struct store_alone a;
    int r = store_alone_open(&a, ctx->node, err);
    if (r < 0) return r;
    if (store_recall_due(a.store)) {
        error_set(err, ERR_BUSY, "the index was made anew and does not say what is hosted: nothing was evicted");
        error_hint(err, "start `%s serve`, which finds that out, then prune", ctx->node->program);
        store_alone_close(&a);
        return ERR_BUSY;
    }
    int64_t freed = store_prune(a.store, target);
    *out = json_pack("{s:I,s:o}", "freed", (json_int_t)freed, "store", store_usage_json(a.store));
    store_alone_close(&a);
    return 0;
}

static int prune(const struct command_context *ctx, int64_t target, json_t **out, struct error *err) {
    _cleanup_(control_closep) struct control *c = NULL;
    char path[64];
    snprintf(path, sizeof(path), "/api/prune?target=%lld", (long long)target);
    int r = control_open(&c, ctx->node, err);
    if (r == 0) r = control_json(c, "POST", path, out, err);
    return r == ERR_UNREACHABLE ? prune_alone(ctx, target, out, err) : r;
}

/* The SIZE of `--to SIZE` or `--to=SIZE`; NULL: neither is given. */
static const char *size_given(const struct command_context *ctx) {
    if (ctx->argc == 2 && strcmp(ctx->argv[0], "--to") == 0) return ctx->argv[1];
    return ctx->argc == 1 && strncmp(ctx->argv[0], "--to=", 5) == 0 ? ctx->argv[0] + 5 : NULL;
}

static int run(const struct command_context *ctx) {
    struct error err = {0};
    int64_t target = -1;
    const char *to = size_given(ctx);
    if (ctx->argc == 1 && strcmp(ctx->argv[0], "--all") == 0) {
        target = 0;
    } else if (to) {
        if (size_parse(to, &target, &err) < 0) return print_usage(ctx, &command_prune, "%s", err.msg);
    } else {
        return print_usage(ctx, &command_prune, "say how much may stay, for example --to 10GiB");
    }
    json_t *doc = NULL;
    if (prune(ctx, target, &doc, &err) < 0) return print_failure(ctx, &err);
    if (ctx->json) return print_json(doc);
    char freed[SIZE_TEXT_MAX], held[SIZE_TEXT_MAX];
    const json_t *store = json_object_get(doc, "store");
    printf("%s freed (blobs and unfinished downloads); %s held", size_text(json_int(doc, "freed", 0), freed),
           size_text(json_int(store, "bytes", 0), held));
    if (json_int(store, "part_bytes", 0) > 0)
        printf(", and %s of unfinished downloads", size_text(json_int(store, "part_bytes", 0), held));
    putchar('\n');
    json_decref(doc);
    return EXIT_DONE;
}

const struct command command_prune = {
    .name = "prune",
    .usage = "--to SIZE | --all",
    .summary = "evict until at most SIZE is held (hosted content and what is in use stay)",
    .where = COMMAND_BOTH,
    .run = run,
};
