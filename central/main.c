/* entrepot-central: the core datacenter's node. Thread: main. */
#include "central/central.h"
#include "central/cmd_load.h"
#include "central/config.h"
#include "common/ops/cli.h"

static const struct command *const commands[] = {
    &command_central_serve,
    &command_status,
    &command_doctor,
    &command_load,
    &command_pull,
    &command_ls,
    &command_df,
    &command_prune,
    &command_verify,
    &command_client_config,
};

int main(int argc, char **argv) {
    const struct cli_program program = {
        .name = "entrepot-central",
        .kind = NODE_CENTRAL,
        .config_file = CENTRAL_CONFIG_FILE,
        .schema = &central_config_schema,
        .load = central_config_load,
        .unload = central_config_free,
        .commands = commands,
        .n_commands = ARRAY_LEN(commands),
    };
    return cli_main(argc, argv, &program);
}
