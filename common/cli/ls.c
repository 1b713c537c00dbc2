/* `ls [REPO]`: the repositories held, or the tags of one. Asks the daemon, or reads the store itself when none runs.
 * Thread: main. */
#include "common/cli/command.h"

#include "common/core/clock.h"
#include "common/core/json.h"
#include "common/admin/control_client.h"
#include "common/inventory/store_alone.h"
#include "common/cli/ls_pulls.h"
#include "common/cli/ls_where.h"
#include "common/cli/print.h"

#include <string.h>

static void print_repositories(const json_t *list) {
    struct table t;
    char size[SIZE_TEXT_MAX];
    table_init(&t, 4, 1u << 1 | 1u << 2 | 1u << 3);
    table_cell(&t, "REPOSITORY");
    table_cell(&t, "TAGS");
    table_cell(&t, "MANIFESTS");
    table_cell(&t, "SIZE");
    size_t i;
    const json_t *r;
    json_array_foreach(list, i, r) {
        table_cell(&t, json_text(r, "repository", "?"));
        table_cellf(&t, "%lld", (long long)json_int(r, "tags", 0));
        table_cellf(&t, "%lld", (long long)json_int(r, "manifests", 0));
        table_cell(&t, size_text(json_int(r, "size", 0), size));
    }
    table_print(&t, stdout);
    table_fini(&t);
}

/* Explains an empty list: after the index was lost, blobs may be held although no repository is known. */
static void print_nothing(const struct node_config *node) {
    struct error ignored = {0};
    char size[SIZE_TEXT_MAX], count[SIZE_TEXT_MAX];
    json_t *doc = NULL;
    int64_t blobs = store_df(node, &doc, &ignored) < 0 ? 0 : json_int(doc, "blobs", 0);
    if (blobs > 0)
        printf("no repository is known; %s %s held, %s; the repositories become known as %s pulled\n",
               count_text(blobs, "blob", count), blobs == 1 ? "is" : "are", size_text(json_int(doc, "bytes", 0), size),
               blobs == 1 ? "it is" : "they are");
    else
        puts("nothing is held yet");
    json_decref(doc);
}

/* "30.0 MiB", or "10.0 MiB of 30.0 MiB" where a part of it is missing. */
static void cell_size(struct table *t, const json_t *r) {
    char held[SIZE_TEXT_MAX], whole[SIZE_TEXT_MAX];
    int64_t size = json_int(r, "size", -1), all = json_int(r, "whole_size", -1);
    if (size < 0)
        table_cell(t, "?");
    else if (size == all || all < 0)
        table_cell(t, size_text(size, held));
    else
        table_cellf(t, "%s of %s", size_text(size, held), size_text(all, whole));
}

static void cell_platforms(struct table *t, const json_t *r) {
    char text[120] = "";
    const json_t *list = json_object_get(r, "platforms"), *p;
    size_t i, len = 0, n = json_array_size(list);
    json_array_foreach(list, i, p) {
        if (len + 40 > sizeof(text)) break;
        int more = snprintf(text + len, sizeof(text) - len, "%s%.30s", i ? "," : "", json_string_value(p));
        len += more > 0 ? (size_t)more : 0;
    }
    table_cellf(t, "%s%s", n ? text : "-", i < n ? ",…" : "");
}

static void cell_ago(struct table *t, int64_t at, int64_t now) {
    char text[SIZE_TEXT_MAX];
    if (at > 0)
        table_cellf(t, "%s ago", time_text(now > at ? now - at : 0, text));
    else
        table_cell(t, "-");
}

static void print_tags(const json_t *list) {
    static const char *const titles[] = {"TAG", "DIGEST", "SIZE", "PLATFORMS", "USED", "CHECKED", "COMPLETE", "PULLS"};
    struct table t;
    bool counted = json_object_get(json_array_get(list, 0), "pulls") != NULL;
    unsigned columns = ARRAY_LEN(titles) - !counted;
    table_init(&t, columns, 1u << 2 | 1u << 7);
    for (size_t i = 0; i < columns; i++)
        table_cell(&t, titles[i]);
    size_t i;
    const json_t *r;
    int64_t now = clock_wall_s();
    json_array_foreach(list, i, r) {
        table_cell(&t, json_text(r, "tag", "?"));
        table_cell(&t, json_text(r, "digest", "?"));
        cell_size(&t, r);
        cell_platforms(&t, r);
        cell_ago(&t, json_int(r, "used_at", 0), now);
        cell_ago(&t, json_int(r, "checked_at", 0), now);
        table_cellf(&t, "%s%s", json_is_true(json_object_get(r, "complete")) ? "yes" : "no",
                    json_is_true(json_object_get(r, "deleted")) ? ", deleted at its source" : "");
        if (counted) table_cellf(&t, "%lld", (long long)json_int(r, "pulls", 0));
    }
    table_print(&t, stdout);
    table_fini(&t);
}

static int not_held(const struct command_context *ctx, const char *repo, json_t *doc) {
    struct error err = {0};
    error_set(&err, ERR_NOT_FOUND, "no tag of %.300s is held here", repo);
    error_hint(&err, "`%s ls` lists the repositories", ctx->node->program);
    if (ctx->json)
        print_json(doc);
    else
        json_decref(doc);
    return print_failure(ctx, &err);
}

static int run_ls(const struct command_context *ctx) {
    struct error err = {0};
    const char *repo = ctx->argc ? ctx->argv[0] : NULL, *image = command_option_value(ctx, "--where");
    json_t *doc = NULL;
    if (image && repo) return print_usage(ctx, "give a repository, or --where with an image, not both");
    if (image) return ls_where(ctx, image);
    if (store_list(ctx->node, repo, &doc, &err) < 0) return print_failure(ctx, &err);
    const json_t *tags = json_object_get(doc, "tags");
    if (repo) ls_add_pulls(ctx, doc);
    if (repo && json_array_size(tags) == 0) return not_held(ctx, repo, doc);
    if (ctx->json) return print_json(doc);
    const json_t *repositories = json_object_get(doc, "repositories");
    if (repo)
        print_tags(tags);
    else if (json_array_size(repositories) > 0)
        print_repositories(repositories);
    else
        print_nothing(ctx->node);
    if (json_is_true(json_object_get(doc, "truncated"))) fprintf(stderr, "(more are held; the list was cut)\n");
    json_decref(doc);
    return EXIT_DONE;
}

static const struct command_option options[] = {
    {"--where", "IMAGE",
     "the sites and edges that hold an image (REPO:TAG or a digest), whole or in part; central only"},
};

static const struct command_example examples[] = {
    {"ls", "all repositories"},
    {"ls docker.io/library/nginx", "the tags of one"},
    {"ls --where docker.io/library/nginx:1.27", "the edges that hold that image"},
};

const struct command command_ls = {
    .name = "ls",
    .usage = "[REPO | --where IMAGE]",
    .summary = "the repositories held, or the tags of one",
    .description =
        "SIZE is what is held, each blob once; \"10.0 MiB of 30.0 MiB\": some of it is missing. PLATFORMS "
        "are those whose\n"
        "manifests are held. USED is when any of it was last used, CHECKED when its source was last asked "
        "for the tag.\n"
        "What was pruned or evicted is not listed. PULLS (central) is how often clients of edges were told that "
        "tag.\n"
        "With --where, an edge holds an image of several platforms whole if it has all of one of them. What "
        "edges hold\n"
        "is as they said last; one that is off-line may have lost it since.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .n_max = 1,
    .wanted = "takes at most one repository",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .n_central_examples = 1,
    .where = COMMAND_BOTH,
    .run = run_ls,
};
