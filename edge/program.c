/* What the command line of entrepot-edge knows. Thread: main. */
#include "edge/cmd_join.h"
#include "edge/config/edge_config.h"
#include "edge/program.h"

static const struct command *const commands[] = {
    &command_serve, &command_join,        &command_status,       &command_doctor, &command_pull,
    &command_ls,    &command_df,          &command_prune,        &command_verify, &command_client_config,
    &command_help,  &command_config_docs, &command_command_docs,
};

/* Checked against central's table by tests/unit/common/cli/cli.c, as no tier knows the other. */
static const char *const central_commands[] = {"load", "edge", "backup", "restore", "ca", "dns", NULL};

const struct cli_program edge_program = {
    .name = "entrepot-edge",
    .summary = "serves container images to a branch from local disk",
    .kind = NODE_EDGE,
    .config_file = EDGE_CONFIG_FILE,
    .schema = &edge_config_schema,
    .load = edge_config_load,
    .unload = edge_config_free,
    .serve = edge_serve,
    .commands = commands,
    .n_commands = ARRAY_LEN(commands),
    .other_commands = central_commands,
    .other_program = "entrepot-central",
};
