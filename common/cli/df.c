/* `df`: how full the store is. Thread: main. */
#include "common/cli/command.h"

#include "common/inventory/store_alone.h"
#include "common/core/json.h"
#include "common/cli/print.h"

/* Negative: left empty. */
static void row(struct table *t, const char *what, int64_t count, int64_t bytes, int64_t on_disk) {
    char size[SIZE_TEXT_MAX];
    table_cell(t, what);
    if (count < 0) {
        table_cell(t, "");
    } else {
        table_cellf(t, "%lld", (long long)count);
    }
    table_cell(t, bytes < 0 ? "" : size_text(bytes, size));
    table_cell(t, on_disk < 0 ? "" : size_text(on_disk, size));
}

static void row_of(struct table *t, const json_t *u, const char *what, const char *count, const char *bytes,
                   const char *on_disk) {
    row(t, what, count ? json_int(u, count, 0) : -1, bytes ? json_int(u, bytes, 0) : -1,
        on_disk ? json_int(u, on_disk, 0) : -1);
}

static void print_df(const json_t *u) {
    struct table t;
    table_init(&t, 4, 1u << 1 | 1u << 2 | 1u << 3);
    table_cell(&t, "");
    table_cell(&t, "COUNT");
    table_cell(&t, "SIZE");
    table_cell(&t, "ON DISK");
    row_of(&t, u, "blobs", "blobs", "bytes", "on_disk");
    row_of(&t, u, "  of them manifests", "manifests", NULL, NULL);
    row_of(&t, u, "tags", "tags", NULL, NULL);
    row_of(&t, u, "unfinished downloads", "parts", "part_bytes", "parts_on_disk");
    row_of(&t, u, "quarantine", "quarantined", "quarantine_bytes", "quarantine_on_disk");
    row_of(&t, u, "index and folders", NULL, NULL, "index_on_disk");
    row_of(&t, u, "all of it", NULL, NULL, "used_on_disk");
    row_of(&t, u, "limit", NULL, NULL, "limit");
    row_of(&t, u, "free on disk", NULL, NULL, "disk_free");
    row_of(&t, u, "size of disk", NULL, NULL, "disk_total");
    row_of(&t, u, "evicted since start", "evictions", "evicted_bytes", NULL);
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
    {"df", "blobs, tags, unfinished downloads, what they take of the disk, the limit and what is free"},
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
