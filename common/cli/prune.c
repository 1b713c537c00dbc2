/* `prune`: evicts what may be evicted, down to a size. Thread: main. */
#include "common/cli/command.h"

#include "common/core/json.h"
#include "common/admin/control_client.h"
#include "common/inventory/store_json.h"
#include "common/inventory/store_alone.h"
#include "common/cli/print.h"
#include "common/config/units.h"
#include "common/store/report.h"

#include <string.h>

/* Without a daemon. */
static int prune_alone(const struct command_context *ctx, int64_t target, json_t **out, struct error *err) {
    struct store_alone a;
    int r = store_alone_open(&a, ctx->node, err);
    if (r < 0) return r;
    if (store_eviction_held(a.store)) {
        error_set(err, ERR_BUSY, "it is not certain what is hosted: nothing was evicted");
        error_hint(err, "start `%s serve`, which finds that out; its log and `%s doctor` say what else is to be done",
                   ctx->node->program, ctx->node->program);
        store_alone_close(&a);
        return ERR_BUSY;
    }
    struct prune_report report;
    store_prune(a.store, target, &report);
    *out = prune_json(&report, a.store);
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

static int run_prune(const struct command_context *ctx) {
    struct error err = {0};
    int64_t target = -1;
    const char *to = command_option_value(ctx, "--to");
    bool all = command_option_given(ctx, "--all");
    if (all && to) return print_usage(ctx, "give --to SIZE or --all, not both");
    if (!all && !to) return print_usage(ctx, "say how much may stay, for example --to 10GiB");
    if (all)
        target = 0;
    else if (size_parse(to, &target, &err) < 0)
        return print_usage(ctx, "%s; %s", err.msg, err.hint);
    json_t *doc = NULL;
    if (prune(ctx, target, &doc, &err) < 0) return print_failure(ctx, &err);
    long long stuck = json_int(doc, "not_removed", 0);
    int status = stuck ? EXIT_FAILED : EXIT_DONE;
    if (ctx->json) return print_json(doc) == EXIT_DONE ? status : EXIT_FAILED;
    char freed[SIZE_TEXT_MAX], held[SIZE_TEXT_MAX];
    const json_t *store = json_object_get(doc, "store");
    printf("%s of the disk freed (blobs and unfinished downloads); %s held",
           size_text(json_int(doc, "freed", 0), freed), size_text(json_int(store, "on_disk", 0), held));
    if (json_int(store, "part_bytes", 0) > 0)
        printf(", and %s of unfinished downloads", size_text(json_int(store, "parts_on_disk", 0), held));
    putchar('\n');
    if (stuck)
        fprintf(stderr,
                "%s could not be removed and %s still held: %s; after so many failures in a row prune stops: "
                "check the disk, and who owns %s\n",
                count_text(stuck, "blob", freed), stuck == 1 ? "is" : "are", json_text(doc, "why_not_removed", "?"),
                ctx->node->data);
    json_decref(doc);
    return status;
}

static const struct command_option options[] = {
    {"--to", "SIZE", "how much of the disk blobs and unfinished downloads may take, for example 10GiB"},
    {"--all", NULL, "evict all that may be evicted, as --to 0"},
};

static const struct command_example examples[] = {
    {"prune --to 10GiB", "evict until they take at most 10 GiB of the disk"},
    {"prune --all", "evict all that may be evicted"},
};

const struct command command_prune = {
    .name = "prune",
    .usage = "--to SIZE | --all",
    .summary = "evict until at most SIZE is held (hosted content and what is in use stay)",
    .description = "Blobs and unfinished downloads go, what was used least first. Give one of the two options.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_BOTH,
    .run = run_prune,
};
