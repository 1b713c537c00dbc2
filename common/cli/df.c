/* `df`: how full the store is. Thread: main. */
#include "common/cli/command.h"

#include "common/admin/store_alone.h"
#include "common/core/json.h"
#include "common/cli/print.h"

static void row(struct table *t, const char *what, int64_t count, int64_t bytes) {
    char size[SIZE_TEXT_MAX];
    table_cell(t, what);
    if (count < 0) {
        table_cell(t, "");
    } else {
        table_cellf(t, "%lld", (long long)count);
    }
    table_cell(t, bytes < 0 ? "" : size_text(bytes, size));
}

static void print_df(const json_t *u) {
    struct table t;
    table_init(&t, 3, 1u << 1 | 1u << 2);
    table_cell(&t, "");
    table_cell(&t, "COUNT");
    table_cell(&t, "SIZE");
    int64_t limit = json_int(u, "limit", 0);
    row(&t, "blobs", json_int(u, "blobs", 0), json_int(u, "bytes", 0));
    row(&t, "  of them manifests", json_int(u, "manifests", 0), -1);
    row(&t, "tags", json_int(u, "tags", 0), -1);
    row(&t, "unfinished downloads", json_int(u, "parts", 0), json_int(u, "part_bytes", 0));
    row(&t, "quarantine", json_int(u, "quarantined", 0), json_int(u, "quarantine_bytes", 0));
    row(&t, "limit", -1, limit > 0 ? limit : 0);
    row(&t, "free on disk", -1, json_int(u, "disk_free", 0));
    row(&t, "size of disk", -1, json_int(u, "disk_total", 0));
    row(&t, "evicted since start", json_int(u, "evictions", 0), json_int(u, "evicted_bytes", 0));
    table_print(&t, stdout);
    table_fini(&t);
}

static int run_df(const struct command_context *ctx) {
    struct error err = {0};
    json_t *doc = NULL;
    if (store_df(ctx->node, &doc, &err) < 0) return print_failure(ctx, &err);
    if (ctx->json) return print_json(doc);
    print_df(doc);
    json_decref(doc);
    return EXIT_DONE;
}

static const struct command_example examples[] = {
    {"df", "blobs, tags, unfinished downloads, the limit and what is free"},
};

const struct command command_df = {
    .name = "df",
    .usage = "",
    .summary = "how much is stored, and how much room is left",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_BOTH,
    .run = run_df,
};
