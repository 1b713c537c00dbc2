/* entrepot-central: the core datacenter's node. Thread: main. */
#include "central/central.h"
#include "central/cmd_load.h"
#include "central/config/central_config.h"
#include "common/cli/cli.h"
#include "common/admin/engine_files.h"

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

/* For client-config while no daemon runs. */
static void configured_upstreams(const struct node_config *node, struct client_upstreams *out) {
    const struct central_config *cfg = (const struct central_config *)(const void *)node;
    for (out->n = 0; out->n < cfg->n_upstreams && out->n < ARRAY_LEN(out->names); out->n++) {
        out->names[out->n] = cfg->upstreams[out->n].name;
    }
    out->default_upstream = cfg->default_upstream;
}

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
    client_config_set_offline(configured_upstreams);
    return cli_main(argc, argv, &program);
}
