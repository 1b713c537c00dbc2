/* The keys that both nodes have, for their schema tables. Thread: any (constant). */
#ifndef ENTREPOT_CONFIG_NODE_SCHEMA_H
#define ENTREPOT_CONFIG_NODE_SCHEMA_H

#include "common/config/config.h"

/* Groups whose fields are in struct node_config, which begins each node's own struct. */
extern const struct config_schema node_store_keys, node_memory_keys, node_log_keys, node_limits_keys, node_threads_keys;

#define NODE_KEY_DATA(default_words)                                                                                   \
    {                                                                                                                  \
        .name = "data", .type = CONFIG_PATH, .at = offsetof(struct node_config, data), .shown = (default_words),       \
        .example = "/srv/entrepot",                                                                                    \
        .doc =                                                                                                         \
            "Folder for everything the node stores: blobs, index, and the socket for its commands. Each daemon needs " \
            "a folder of its own. Under the systemd unit, another folder needs a drop-in with ReadWritePaths= for it." \
    }
#define NODE_KEY_ADDRESS                                                                           \
    {                                                                                              \
        .name = "address", .type = CONFIG_STRING, .at = offsetof(struct node_config, address),     \
        .check = config_check_host, .shown = "determined from the network", .example = "10.1.0.5", \
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
        .doc = "Names by which clients know this service. `?ns=` with one of them counts as absent."                   \
    }
#define NODE_KEY_TRUSTED_PROXIES                                                                                      \
    {                                                                                                                 \
        .name = "trusted_proxies", .type = CONFIG_STRINGS, .at = offsetof(struct node_config, trusted_proxies),       \
        .count_at = offsetof(struct node_config, n_trusted_proxies), .check = config_check_network, .fallback = "[]", \
        .example = "[10.1.0.0/16]",                                                                                   \
        .doc = "Networks of the proxies before the registry port. The client's address is taken from the header "     \
               "X-Forwarded-For or Forwarded of requests from these networks only, and from neither header if a "     \
               "request has both."                                                                                    \
    }
extern const char *const node_tls_words[];
#define NODE_KEY_TLS(words_of_node)                                                                                    \
    {                                                                                                                  \
        .name = "tls", .type = CONFIG_WORD, .at = offsetof(struct node_config, registry_tls), .words = node_tls_words, \
        .fallback = "files",                                                                                           \
        .doc = "`files`: TLS with cert_file and key_file, or none without them. `fleet`: TLS with a "                  \
               "certificate of the fleet's authority, which renews itself; client-config then says where engines "     \
               "want the authority's certificate. " words_of_node                                                      \
    }
#define NODE_KEY_CERT_FILE                                                                                     \
    {                                                                                                          \
        .name = "cert_file", .type = CONFIG_FILE, .at = offsetof(struct node_config, registry_cert_file),      \
        .example = "/etc/entrepot/tls.crt",                                                                    \
        .doc = "PEM certificate chain. With it and key_file the registry port uses TLS. Read again on SIGHUP." \
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
#define NODE_KEY_ADMIN_NAMES                                                                                        \
    {                                                                                                               \
        .name = "names", .type = CONFIG_STRINGS, .at = offsetof(struct node_config, admin_names),                   \
        .count_at = offsetof(struct node_config, n_admin_names), .check = config_check_host_port, .fallback = "[]", \
        .example = "[metrics.acme.example]",                                                                        \
        .doc = "Further host names that the admin and fleet ports answer for. They always answer for addresses, "   \
               "localhost, the machine's name, registry.names and address. Requests for other names are answered "  \
               "421, so that no web page can make a browser on this machine read these ports."                      \
    }
#define NODE_KEY_STALE_FOR(words)                                                                       \
    {                                                                                                   \
        .name = "stale_for", .type = CONFIG_DURATION, .at = offsetof(struct node_config, stale_for_ms), \
        .fallback = "7d", .doc = (words)                                                                \
    }
#define NODE_KEY_DRAIN                                                                                             \
    {                                                                                                              \
        .name = "drain", .type = CONFIG_DURATION, .at = offsetof(struct node_config, drain_ms), .fallback = "30s", \
        .max = 3600000, .doc = "How long running requests may take to finish after SIGTERM before they are cut."   \
    }
#define NODE_KEY_GROUP(key, schema, words) \
    { .name = (key), .type = CONFIG_GROUP, .inner = &(schema), .doc = (words) }

/* Checks rules about several of these keys (cert_file and key_file: both or neither) and sets the default data folder.
 * name: "central" or "edge". */
int node_config_check(struct config_load *load, struct node_config *node, const char *name,
                      struct error *err) must_check;

#endif
