/* `ca status`: the fleet's authority. The running central answers. Thread: main. */
#include "central/cmd_edge.h"

#include <stdio.h>
#include <string.h>

#include "common/admin/control_client.h"
#include "common/cli/print.h"
#include "common/core/clock.h"
#include "common/core/json.h"

static void row(struct table *t, const char *name, const json_t *cert) {
    char until[CLOCK_DATE_MAX];
    const json_t *here = json_object_get(cert, "key_is_here");
    table_cell(t, name);
    table_cellf(t, "good until %s%s", clock_date(json_int(cert, "not_after", 0), until),
                !here                ? ""
                : json_is_true(here) ? "; its key is on this machine"
                                     : "; its key is not on this machine");
    table_cell(t, "");
    table_cellf(t, "sha256 %s", json_text(cert, "sha256", "?"));
}

static int run_ca(const struct command_context *ctx) {
    struct error err = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    struct table t;
    json_t *doc = NULL;
    if (strcmp(ctx->argv[0], "status") != 0) return print_usage(ctx, "say what: status");
    if (control_open(&c, ctx->node, &err) < 0 || control_json(c, "GET", "/api/ca", &doc, &err) < 0)
        return print_failure(ctx, &err);
    if (ctx->json) return print_json(doc);
    table_init(&t, 2, 0);
    table_cell(&t, "fleet");
    table_cell(&t, json_text(doc, "id", "?"));
    row(&t, "root", json_object_get(doc, "root"));
    row(&t, "standby root", json_object_get(doc, "standby"));
    row(&t, "signer", json_object_get(doc, "signer"));
    table_print(&t, stdout);
    table_fini(&t);
    json_decref(doc);
    return EXIT_DONE;
}

static const struct command_example examples[] = {
    {"ca status", "the fleet's roots and signer, how long they are good, and where their keys are"},
};

static const char *const words[] = {"status", NULL};

const struct command command_ca = {
    .name = "ca",
    .usage = "status",
    .summary = "show the fleet's certificate authority",
    .words = words,
    .n_min = 1,
    .n_max = 1,
    .wanted = "say what: status",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_CENTRAL,
    .run = run_ca,
};
