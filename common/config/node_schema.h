/* The keys that both nodes have, for their schema tables. Thread: any (constant). */
#ifndef ENTREPOT_CONFIG_NODE_SCHEMA_H
#define ENTREPOT_CONFIG_NODE_SCHEMA_H

#include "common/config/config.h"

/* Groups whose fields are in struct node_config, which begins each node's own struct. */
extern const struct config_schema node_store_keys, node_memory_keys, node_log_keys, node_limits_keys, node_threads_keys;

#define NODE_KEY_DATA(default_words)                                                                                \
    {                                                                                                               \
        .name = "data", .type = CONFIG_PATH, .at = offsetof(struct node_config, data), .shown = (default_words),    \
        .example = "/srv/entrepot",                                                                                 \
        .doc = "Folder for everything the node keeps: blobs, index, the socket its commands talk to. One daemon a " \
               "folder. Under the systemd unit a folder elsewhere needs a drop-in with ReadWritePaths= for it."     \
    }
#define NODE_KEY_ADDRESS                                                                           \
    {                                                                                              \
        .name = "address", .type = CONFIG_STRING, .at = offsetof(struct node_config, address),     \
        .check = config_check_host, .shown = "found out from the network", .example = "10.1.0.5",  \
        .doc = "Host name or address that clients reach this node by, as client-config prints it." \
    }
#define NODE_KEY_LISTEN(default_address, words)                                                       \
    {                                                                                                 \
        .name = "listen", .type = CONFIG_STRING, .at = offsetof(struct node_config, registry_listen), \
        .check = config_check_listen, .fallback = (default_address), .doc = (words)                   \
    }
#define NODE_KEY_NAMES                                                                                                 \
    {                                                                                                                  \
        .name = "names", .type = CONFIG_STRINGS, .at = offsetof(struct node_config, registry_names),                   \
        .count_at = offsetof(struct node_config, n_registry_names), .check = config_check_host_port, .fallback = "[]", \
        .example = "[registry.img.acme.example]",                                                                      \
        .doc = "The names clients know this service by. `?ns=` with one of them counts as none."                       \
    }
#define NODE_KEY_TRUSTED_PROXIES                                                                                      \
    {                                                                                                                 \
        .name = "trusted_proxies", .type = CONFIG_STRINGS, .at = offsetof(struct node_config, trusted_proxies),       \
        .count_at = offsetof(struct node_config, n_trusted_proxies), .check = config_check_network, .fallback = "[]", \
        .example = "[10.1.0.0/16]",                                                                                   \
        .doc = "Networks of proxies before the registry port. A client's own address is taken from their "            \
               "X-Forwarded-For or Forwarded, and from nobody else's; from neither if a request has both."            \
    }
#define NODE_KEY_CERT_FILE                                                                                 \
    {                                                                                                      \
        .name = "cert_file", .type = CONFIG_FILE, .at = offsetof(struct node_config, registry_cert_file),  \
        .example = "/etc/entrepot/tls.crt",                                                                \
        .doc = "PEM certificate chain: with key_file, the registry port speaks TLS. Read again on SIGHUP." \
    }
#define NODE_KEY_KEY_FILE                                                                               \
    {                                                                                                   \
        .name = "key_file", .type = CONFIG_FILE, .at = offsetof(struct node_config, registry_key_file), \
        .example = "/etc/entrepot/tls.key", .doc = "PEM private key of cert_file."                      \
    }
#define NODE_KEY_ADMIN_LISTEN(default_address)                                                     \
    {                                                                                              \
        .name = "listen", .type = CONFIG_STRING, .at = offsetof(struct node_config, admin_listen), \
        .check = config_check_listen, .fallback = (default_address),                               \
        .doc = "Address and port of /healthz, /readyz and /metrics."                               \
    }
#define NODE_KEY_ADMIN_NAMES                                                                                          \
    {                                                                                                                 \
        .name = "names", .type = CONFIG_STRINGS, .at = offsetof(struct node_config, admin_names),                     \
        .count_at = offsetof(struct node_config, n_admin_names), .check = config_check_host_port, .fallback = "[]",   \
        .example = "[metrics.acme.example]",                                                                          \
        .doc = "Further names by which this node's own ports (admin, fleet) may be asked. Addresses, localhost, the " \
               "machine's name, registry.names and address always may; other names are answered 421, so that no "     \
               "web page can make a browser on this machine read them."                                               \
    }
#define NODE_KEY_STALE_FOR(words)                                                                       \
    {                                                                                                   \
        .name = "stale_for", .type = CONFIG_DURATION, .at = offsetof(struct node_config, stale_for_ms), \
        .fallback = "7d", .doc = (words)                                                                \
    }
#define NODE_KEY_DRAIN                                                                                             \
    {                                                                                                              \
        .name = "drain", .type = CONFIG_DURATION, .at = offsetof(struct node_config, drain_ms), .fallback = "30s", \
        .max = 3600000, .doc = "On SIGTERM: how long running requests may take to finish before they are cut."     \
    }
#define NODE_KEY_GROUP(key, schema, words) \
    { .name = (key), .type = CONFIG_GROUP, .inner = &(schema), .doc = (words) }

/* Checks rules about several of these keys (cert_file and key_file: both or neither) and sets the default data folder.
 * name: "central" or "edge". */
int node_config_check(struct config_load *load, struct node_config *node, const char *name,
                      struct error *err) must_check;

#endif
