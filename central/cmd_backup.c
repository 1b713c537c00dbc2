/* `backup DIR`: what central cannot get from anywhere else, copied while it runs. Thread: main. */
#include "central/cmd_backup.h"

#include <stdio.h>

#include "central/backup/backup.h"
#include "common/cli/print.h"
#include "common/config/units.h"

static int run_backup(const struct command_context *ctx) {
    struct error err = {0};
    struct backup_report r;
    char size[SIZE_TEXT_MAX], count[SIZE_TEXT_MAX];
    const char *to = ctx->argv[0];
    if (backup_make(ctx->node->data, ctx->config_path, to, &r, &err) < 0) return print_failure(ctx, &err);
    int status = r.missing > 0 ? EXIT_FAILED : EXIT_DONE;
    if (ctx->json) {
        json_t *j = json_pack("{s:s, s:I, s:I, s:I}", "folder", to, "hosted_blobs", (json_int_t)r.blobs, "hosted_bytes",
                              (json_int_t)r.bytes, "hosted_missing", (json_int_t)r.missing);
        return print_json(j) == EXIT_DONE ? status : EXIT_FAILED;
    }
    printf("%s has the fleet's keys and records, the catalogue, and what is hosted: %s, %s\n"
           "whoever has it can make edges: keep it as safe as the data folder\n",
           to, count_text(r.blobs, "blob", count), size_text(r.bytes, size));
    if (r.missing > 0)
        printf("%s of what is hosted is missing here, and so in the backup: `doctor` names it\n",
               count_text(r.missing, "blob", count));
    return status;
}

static const struct command_example examples[] = {
    {"backup /srv/backup/central-monday", "copy what cannot be had from anywhere else, while central runs"},
};

const struct command command_backup = {
    .name = "backup",
    .usage = "DIR",
    .summary = "copy the fleet's keys and records, and what is hosted, while central runs",
    .description =
        "DIR is a new folder. Blobs take no more room where the file system can share them. Mirrored content "
        "is not\ncopied: it can be fetched again.",
    .n_min = 1,
    .n_max = 1,
    .wanted = "give a folder",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_CENTRAL,
    .run = run_backup,
};
