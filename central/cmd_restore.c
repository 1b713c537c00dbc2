/* `restore DIR`: puts back what `backup` has copied. Thread: main. */
#include "central/cmd_backup.h"

#include <stdio.h>

#include "central/backup/backup.h"
#include "common/cli/print.h"
#include "common/config/units.h"
#include "common/core/clock.h"

static int run_restore(const struct command_context *ctx) {
    struct error err = {0};
    struct backup_report r;
    int64_t made_at = 0;
    char when[CLOCK_DATE_MAX], count[SIZE_TEXT_MAX];
    const struct restore_order o = {.data = ctx->node->data, .replace = command_option_given(ctx, "--replace")};
    if (backup_restore(ctx->argv[0], &o, &r, &made_at, &err) < 0) return print_failure(ctx, &err);
    int status = r.missing > 0 ? EXIT_FAILED : EXIT_DONE;
    if (ctx->json) {
        json_t *j = json_pack("{s:s, s:I, s:I, s:I}", "data", o.data, "made_at", (json_int_t)made_at, "hosted_blobs",
                              (json_int_t)r.blobs, "hosted_missing", (json_int_t)r.missing);
        return print_json(j) == EXIT_DONE ? status : EXIT_FAILED;
    }
    printf("%s is as it was on %s; %s brought back\n"
           "start entrepot-central: edges take its catalogue anew, and bring back removals that it has forgotten\n"
           "an edge that joined since waits for `edge allow NAME`; invites that were open are good no more\n",
           o.data, clock_date(made_at, when), count_text(r.blobs, "hosted blob", count));
    if (r.missing > 0)
        printf("%s of what is hosted is missing in the backup: `doctor` names it, `load` brings it back\n",
               count_text(r.missing, "blob", count));
    return status;
}

static const struct command_option options[] = {
    {"--replace", NULL, "move what is in the data folder aside, into before-restore-TIME there"},
};

static const struct command_example examples[] = {
    {"restore /srv/backup/central-monday", "into an empty data folder, before the first start"},
    {"restore --replace /srv/backup/central-monday", "put a central back in time"},
};

const struct command command_restore = {
    .name = "restore",
    .usage = "[--replace] DIR",
    .summary = "put back what `backup` has copied; central must not run",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .n_min = 1,
    .n_max = 1,
    .wanted = "give the folder of a backup",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_CENTRAL,
    .run = run_restore,
};
