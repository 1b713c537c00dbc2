/* Asks the daemon. Thread: main. */
#include "common/cli/ls_pulls.h"

#include "common/admin/control_client.h"
#include "common/core/alloc.h"
#include "common/core/json.h"

static json_t *ask(const struct command_context *ctx, const char *repo) {
    struct control *c = NULL;
    struct error ignored = {0};
    json_t *doc = NULL;
    _cleanup_(freep) char *escaped = control_escape(repo), *path = xasprintf("/api/pulls?repo=%s", escaped);
    int r = control_open(&c, ctx->node, &ignored);
    if (r == 0) r = control_json(c, "GET", path, &doc, &ignored);
    control_close(c);
    return r == 0 ? doc : NULL;
}

void ls_add_pulls(const struct command_context *ctx, json_t *doc) {
    const char *repo = json_text(doc, "repository", NULL);
    json_t *said = repo && ctx->node->kind == NODE_CENTRAL ? ask(ctx, repo) : NULL, *by_tag = json_object(), *r;
    size_t i;
    json_array_foreach(json_object_get(said, "most"), i, r)
        json_object_set(by_tag, json_text(r, "tag", ""), json_object_get(r, "pulls"));
    json_array_foreach(json_object_get(doc, "tags"), i, r) {
        if (said) json_object_set_new(r, "pulls", json_integer(json_int(by_tag, json_text(r, "tag", ""), 0)));
    }
    json_decref(by_tag);
    json_decref(said);
}
