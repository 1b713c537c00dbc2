/* `ca status|rotate|standby export|recover`: the fleet's authority. The running central answers for the first two; the
 * others work on its folder. Thread: main. */
#include "central/cmd_edge.h"

#include <stdio.h>
#include <string.h>

#include "central/config/central_config.h"
#include "central/fleet/ca.h"
#include "common/admin/control_client.h"
#include "common/cli/print.h"
#include "common/config/units.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/json.h"

#define WANTED "say what: status, rotate, standby export FILE or recover FILE"

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

/* How far a change of the root is, and what it waits for. */
static void print_rotation(const json_t *doc) {
    const json_t *r = json_object_get(doc, "rotation"), *missing = json_object_get(r, "missing"), *e;
    size_t i;
    char text[SIZE_TEXT_MAX], until[CLOCK_DATE_MAX];
    int64_t not_before = json_int(r, "not_before", 0);
    if (!r || strcmp(json_text(r, "state", "steady"), "steady") == 0) return;
    printf("\nthe root changes; now %s\n", json_text(r, "says", "?"));
    if (not_before > clock_wall_s()) printf("the old root stays until %s\n", clock_date(not_before, until));
    json_array_foreach(missing, i, e) {
        int64_t seen = json_int(e, "seen_at", 0), age = clock_wall_s() - seen;
        printf("  waits for %s (%s, last seen %s%s): it %s\n", json_text(e, "name", "?"), json_text(e, "state", "?"),
               seen ? time_text(age > 0 ? age : 0, text) : "never", seen ? " ago" : "", json_text(e, "lacks", "?"));
    }
    if (json_array_size(missing) > 0)
        puts("an edge that is off acknowledges when it is back; one that is gone: `entrepot-central edge remove NAME`");
}

static void print_status(const json_t *doc) {
    struct table t;
    table_init(&t, 2, 0);
    table_cell(&t, "fleet");
    table_cell(&t, json_text(doc, "id", "?"));
    row(&t, "root", json_object_get(doc, "root"));
    row(&t, "standby root", json_object_get(doc, "standby"));
    if (json_object_get(doc, "next")) row(&t, "next root", json_object_get(doc, "next"));
    if (json_object_get(doc, "retired")) row(&t, "old root", json_object_get(doc, "retired"));
    row(&t, "signer", json_object_get(doc, "signer"));
    table_print(&t, stdout);
    table_fini(&t);
    print_rotation(doc);
}

static int run_asked(const struct command_context *ctx, bool rotate) {
    struct error err = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    json_t *doc = NULL;
    if (control_open(&c, ctx->node, &err) < 0 ||
        control_json(c, rotate ? "POST" : "GET", rotate ? "/api/ca/rotate" : "/api/ca", &doc, &err) < 0)
        return print_failure(ctx, &err);
    if (ctx->json) return print_json(doc);
    print_status(doc);
    if (rotate) puts("\nmake a new `backup` when that is through: edges will not trust the root of an older one");
    if (rotate && json_is_false(json_object_get(json_object_get(doc, "standby"), "key_is_here")))
        printf("then add the new root to the file of the standby root's key, too: cat %s/identity/root.pem >>FILE\n",
               ctx->node->data);
    json_decref(doc);
    return EXIT_DONE;
}

/* --- the standby root --- */

static int run_export(const struct command_context *ctx, const char *file) {
    struct error err = {0};
    if (ca_export_standby(ctx->node->data, file, &err) < 0) return print_failure(ctx, &err);
    if (ctx->json) return print_json(json_pack("{s:s}", "file", file));
    printf("%s has the standby root's key, which is on this machine no longer\n"
           "put it into a safe: with it, and with nothing else, a new central can take the place of one that is lost\n"
           "  entrepot-central ca recover FILE\n",
           file);
    return EXIT_DONE;
}

static int run_recover(const struct command_context *ctx, const char *file) {
    struct error err = {0};
    const struct central_config *cfg = (const struct central_config *)(const void *)ctx->node;
    char dir[4200];
    snprintf(dir, sizeof(dir), "%.4000s/identity", ctx->node->data);
    if (ca_recover(ctx->node->data, cfg->ca_key_file, file, cfg->rejoin_window_ms / 1000, &err) < 0 ||
        dir_give_away(dir, ctx->node->data, &err) < 0)
        return print_failure(ctx, &err);
    if (ctx->json) return print_json(json_pack("{s:s}", "data", ctx->node->data));
    printf("the authority in %s is the fleet's again: its root is the standby root, and there is a new standby root\n"
           "start entrepot-central, at an address that the edges know; each edge is in quarantine until "
           "`entrepot-central edge allow NAME`\n"
           "then put the new standby root's key into the safe: entrepot-central ca standby export FILE\n",
           ctx->node->data);
    return EXIT_DONE;
}

static int run_ca(const struct command_context *ctx) {
    char **argv = ctx->argv;
    if (ctx->argc == 1 && strcmp(argv[0], "status") == 0) return run_asked(ctx, false);
    if (ctx->argc == 1 && strcmp(argv[0], "rotate") == 0) return run_asked(ctx, true);
    if (ctx->argc == 2 && strcmp(argv[0], "recover") == 0) return run_recover(ctx, argv[1]);
    if (ctx->argc == 3 && strcmp(argv[0], "standby") == 0 && strcmp(argv[1], "export") == 0)
        return run_export(ctx, argv[2]);
    return print_usage(ctx, WANTED);
}

static const struct command_example examples[] = {
    {"ca status",
     "the fleet's roots and signer, how long they are good, and where their keys are; which edges a change "
     "of the root waits for"},
    {"ca rotate", "bring in a new root: edges learn it, then it signs, then the old one leaves"},
    {"ca standby export /media/usb/standby.pem", "move the standby root's key off this machine, into a safe"},
    {"ca recover /media/usb/standby.pem", "make a lost central anew, for the same fleet"},
};

static const char *const words[] = {"status", "rotate", "standby", "recover", NULL};

const struct command command_ca = {
    .name = "ca",
    .usage = "status | rotate | standby export FILE | recover FILE",
    .summary = "show the fleet's certificate authority, change its root, save its standby root",
    .words = words,
    .n_min = 1,
    .n_max = 3,
    .wanted = WANTED,
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_CENTRAL,
    .run = run_ca,
};
