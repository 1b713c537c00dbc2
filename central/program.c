/* What the command line of entrepot-central knows. Thread: main. */
#include "central/program.h"
#include "central/cmd_backup.h"
#include "central/cmd_dns.h"
#include "central/cmd_edge.h"
#include "central/cmd_load.h"
#include "central/config/central_config.h"
#include "common/cli/cli.h"
#include "common/core/host_port.h"

static const struct command *const commands[] = {
    &command_serve,  &command_status,      &command_doctor,       &command_load,   &command_edge,
    &command_backup, &command_restore,     &command_ca,           &command_pull,   &command_dns,
    &command_ls,     &command_df,          &command_prune,        &command_verify, &command_client_config,
    &command_help,   &command_config_docs, &command_command_docs,
};

/* Checked against the edge's table by tests/unit/common/cli/cli.c, as no tier knows the other. */
static const char *const edge_commands[] = {"join", NULL};

/* For client-config while no daemon runs. */
static void configured_upstreams(const struct node_config *node, struct client_upstreams *out) {
    const struct central_config *cfg = (const struct central_config *)(const void *)node;
    for (out->n = 0; out->n < cfg->n_upstreams && out->n < ARRAY_LEN(out->names); out->n++) {
        out->names[out->n] = cfg->upstreams[out->n].name;
    }
    out->default_upstream = cfg->default_upstream;
}

static void add_server(struct client_dns *out, const char *address) {
    if (out->n_servers < ARRAY_LEN(out->servers)) out->servers[out->n_servers++] = address;
}

/* For client-config dns. */
static void configured_dns(const struct node_config *node, struct client_dns *out) {
    const struct dns_config *dns = &((const struct central_config *)(const void *)node)->dns;
    struct host_port hp;
    out->zone = dns->zone;
    out->ttl_s = dns->ttl_ms / 1000;
    out->port = host_port_parse(&hp, dns->listen) && hp.port > 0 ? hp.port : 53;
    for (size_t i = 0; i < dns->n_servers; i++)
        for (size_t j = 0; j < dns->servers[i].n_addresses; j++)
            add_server(out, dns->servers[i].addresses[j]);
    for (size_t i = 0; i < dns->n_central && dns->n_servers == 0; i++)
        add_server(out, dns->central[i]);
}

const struct cli_program central_program = {
    .name = "entrepot-central",
    .summary = "mirrors upstream registries and serves the edges of a company",
    .kind = NODE_CENTRAL,
    .config_file = CENTRAL_CONFIG_FILE,
    .schema = &central_config_schema,
    .load = central_config_load,
    .unload = central_config_free,
    .serve = central_serve,
    .upstreams = configured_upstreams,
    .dns = configured_dns,
    .commands = commands,
    .n_commands = ARRAY_LEN(commands),
    .other_commands = edge_commands,
    .other_program = "entrepot-edge",
};
