/* entrepot-edge: the branch's cache. Thread: main. */
#include "common/cli/cli.h"
#include "edge/config/edge_config.h"
#include "edge/edge.h"

static const struct command *const commands[] = {
    &command_edge_serve, &command_status, &command_doctor, &command_pull,          &command_ls,
    &command_df,         &command_prune,  &command_verify, &command_client_config,
};

int main(int argc, char **argv) {
    const struct cli_program program = {
        .name = "entrepot-edge",
        .kind = NODE_EDGE,
        .config_file = EDGE_CONFIG_FILE,
        .schema = &edge_config_schema,
        .load = edge_config_load,
        .unload = edge_config_free,
        .commands = commands,
        .n_commands = ARRAY_LEN(commands),
    };
    return cli_main(argc, argv, &program);
}
