/* `load LAYOUT REF`: brings an OCI layout (a folder with index.json and blobs) into a hosted repository of the running
 * central. Thread: main. */
#include "common/cli/command.h"

#include "common/core/alloc.h"
#include "common/core/json.h"
#include "common/admin/control_client.h"
#include "common/cli/print.h"

#include "central/cmd_load.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static int run_load(const struct command_context *ctx) {
    struct error err = {0};
    /* The daemon has another working folder. */
    _cleanup_(freep) char *layout = realpath(ctx->argv[0], NULL), *a = NULL, *b = NULL, *path = NULL;
    if (!layout) {
        error_errno(&err, "opening %.300s", ctx->argv[0]);
        const char *colon = strrchr(ctx->argv[0], ':');
        _cleanup_(freep) char *folder = colon ? strndup(ctx->argv[0], (size_t)(colon - ctx->argv[0])) : NULL;
        if (folder && access(folder, F_OK) == 0)
            error_hint(&err, "give the folder alone, `load %.120s %.120s`; the tag after REPOSITORY says which image",
                       folder, ctx->argv[1]);
        else
            error_hint(&err, "give the folder of an OCI image layout, as `skopeo copy … oci:FOLDER:TAG` makes it");
        return print_failure(ctx, &err);
    }
    a = control_escape(layout);
    b = control_escape(ctx->argv[1]);
    /* The service may not reach the folder (homes, /tmp of its own), so it gets it opened. */
    _cleanup_(closep) int folder = open(layout, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        error_errno(&err, "opening %.300s", layout);
        return print_failure(ctx, &err);
    }
    path = xasprintf("/api/load?layout=%s&ref=%s", a, b);
    _cleanup_(control_closep) struct control *c = NULL;
    json_t *doc = NULL;
    if (control_open(&c, ctx->node, &err) < 0 || control_post_passing(c, path, folder, &doc, &err) < 0)
        return print_failure(ctx, &err);
    if (ctx->json) return print_json(doc);
    printf("%s loaded", ctx->argv[1]);
    if (json_text(doc, "digest", NULL)) printf(": %s", json_text(doc, "digest", ""));
    putchar('\n');
    json_decref(doc);
    return EXIT_DONE;
}

static const struct command_example examples[] = {
    {"load ./layout acme/app:v1", "load the image of ./layout as acme/app:v1"},
};

const struct command command_load = {
    .name = "load",
    .usage = "LAYOUT REPOSITORY:TAG",
    .summary = "bring an OCI layout into a hosted repository",
    .description = "A layout is a folder with index.json and blobs, as `skopeo copy ... oci:FOLDER:TAG` makes it. The "
                   "daemon reads it\n"
                   "as its own user, who must be allowed to read the folder and what is in it.",
    .n_min = 2,
    .n_max = 2,
    .wanted = "give a folder and a name",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_CENTRAL,
    .run = run_load,
};
