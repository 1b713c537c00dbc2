/* Prints a row for each edge that holds any of the image. Thread: main. */
#include "common/cli/ls_where.h"

#include "common/admin/control_client.h"
#include "common/cli/print.h"
#include "common/core/alloc.h"
#include "common/core/json.h"

#include <string.h>

static void cell_platforms(struct table *t, const json_t *list) {
    char text[160] = "";
    size_t i, len = 0;
    const json_t *p;
    json_array_foreach(list, i, p) {
        int more = snprintf(text + len, sizeof(text) - len, "%s%.70s", i ? "," : "", json_string_value(p));
        if (more < 0 || (len += (size_t)more) >= sizeof(text)) break;
    }
    table_cell(t, text[0] ? text : "-");
}

static void print_edges(const json_t *doc) {
    static const char *const titles[] = {"SITE", "EDGE", "HOLDS", "PLATFORMS", "BLOBS", "SIZE"};
    struct table t;
    table_init(&t, ARRAY_LEN(titles), 1u << 4 | 1u << 5);
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        table_cell(&t, titles[i]);
    long long blobs = json_int(doc, "blobs", 0);
    size_t i;
    const json_t *e;
    json_array_foreach(json_object_get(doc, "edges"), i, e) {
        char size[SIZE_TEXT_MAX];
        const char *state = json_text(e, "state", "active");
        bool whole = json_is_true(json_object_get(e, "whole"));
        table_cell(&t, json_text(e, "site", "?"));
        table_cell(&t, json_text(e, "edge", "?"));
        table_cellf(&t, "%s%s%s", whole ? "whole" : "in part", strcmp(state, "active") ? ", " : "",
                    strcmp(state, "active") ? state : "");
        cell_platforms(&t, json_object_get(e, "platforms"));
        table_cellf(&t, "%lld of %lld", (long long)json_int(e, "blobs", 0), blobs);
        table_cell(&t, size_text(json_int(e, "size", 0), size));
    }
    table_print(&t, stdout);
    table_fini(&t);
}

static int ask(const struct command_context *ctx, const char *image, json_t **doc, struct error *err) {
    struct control *c = NULL;
    _cleanup_(freep) char *escaped = control_escape(image), *path = xasprintf("/api/where?image=%s", escaped);
    int r = control_open(&c, ctx->node, err);
    if (r == 0) r = control_json(c, "GET", path, doc, err);
    control_close(c);
    return r;
}

int ls_where(const struct command_context *ctx, const char *image) {
    struct error err = {0};
    json_t *doc = NULL;
    if (ctx->node->kind != NODE_CENTRAL) {
        error_set(&err, ERR_UNSUPPORTED, "only central knows what each edge holds");
        error_hint(&err, "run `entrepot-central ls --where %.300s` there", image);
        return print_failure(ctx, &err);
    }
    if (ask(ctx, image, &doc, &err) < 0) return print_failure(ctx, &err);
    if (ctx->json) return print_json(doc);
    long long not_told = (long long)json_int(doc, "blobs_not_told", 0);
    if (json_array_size(json_object_get(doc, "edges")) > 0)
        print_edges(doc);
    else
        printf("no edge %s any of %s (%s)\n", not_told ? "tells that it holds" : "holds", image,
               json_text(doc, "digest", "?"));
    if (not_told)
        printf("edges tell only of blobs named by sha256: who holds %lld of this image's blobs is not known\n",
               not_told);
    json_decref(doc);
    return EXIT_DONE;
}
