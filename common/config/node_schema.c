/* The groups of keys that both nodes have. Thread: any (constant). */
#include "common/config/node_schema.h"

#include <limits.h>
#include <sys/stat.h>

#define AT(f) .at = offsetof(struct node_config, f)

static const struct config_key store_keys[] = {
    {.name = "limit",
     .type = CONFIG_SIZE,
     AT(store_limit),
     .fallback = "0",
     .example = "500GiB",
     .doc = "Bytes of the disk that blobs, unfinished downloads, quarantine and index may take together, in whole "
            "blocks of the file system. When the limit is reached, the least useful blobs are evicted first. "
            "0: all of the file system but min_free."},
    {.name = "min_free",
     .type = CONFIG_SIZE,
     AT(store_min_free),
     .fallback = "1GiB",
     .doc = "Bytes of the file system that are always left free."},
    {.name = "tags",
     .type = CONFIG_INT,
     AT(store_tags),
     .fallback = "200000",
     .min = 1000,
     .max = 100000000,
     .doc = "How many tags are remembered; each takes some 500 bytes of memory and of disk. Over the limit, tags whose "
            "manifest is not held are forgotten, those not requested for longest first. Held and hosted tags always "
            "stay."},
};
const struct config_schema node_store_keys = CONFIG_SCHEMA(store_keys);

static const struct config_key memory_keys[] = {
#define BUDGET_MEMORY(id, key, mib, least, words) \
    {.name = (key),                               \
     .type = CONFIG_SIZE,                         \
     AT(budgets[BUDGET_##id]),                    \
     .fallback = #mib "MiB",                      \
     .min = (least)*MiB,                          \
     .max = 1024 * GiB,                           \
     .doc = (words)},
#include "common/core/budget_list.h"
};
const struct config_schema node_memory_keys = CONFIG_SCHEMA(memory_keys);

static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};
static const char *const format_words[] = {"kv", "json", NULL};
static const struct config_key log_keys[] = {
    {.name = "level",
     .type = CONFIG_WORD,
     AT(log_level),
     .words = level_words,
     .fallback = "info",
     .doc = "The least severe level that is written."},
    {.name = "format",
     .type = CONFIG_WORD,
     AT(log_format),
     .words = format_words,
     .fallback = "kv",
     .doc = "Lines of key=value, or one JSON object a line."},
    {.name = "access",
     .type = CONFIG_BOOL,
     AT(access_log),
     .fallback = "true",
     .doc = "Whether a line is written for every request."},
};
const struct config_schema node_log_keys = CONFIG_SCHEMA(log_keys);

static const struct config_key limits_keys[] = {
    {.name = "connections",
     .type = CONFIG_INT,
     AT(conns),
     .fallback = "20000",
     .min = 1,
     .max = 1000000,
     .doc = "Client connections in all. Over the limit, the connection that has been idle longest, or is still sending "
            "its head, is closed for a new one."},
    {.name = "connections_per_address",
     .type = CONFIG_INT,
     AT(conns_per_addr),
     .fallback = "2048",
     .max = 1000000,
     .doc = "Client connections from one address (IPv6: from one /64). Further ones are answered 503. 0: no limit. "
            "Those of registry.trusted_proxies are not counted. At central's fleet port it is connections of one edge, "
            "by its certificate: any number of edges may share an address."},
    {.name = "waiting_per_address",
     .type = CONFIG_INT,
     AT(waiting_per_addr),
     .fallback = "256",
     .min = 1,
     .max = 1000000,
     .doc = "Requests of one client that may wait for a shared resource (an upstream's or central's request limit, "
            "threads for lists). Further ones are answered 503, or 429 for lists."},
    {.name = "waiting",
     .type = CONFIG_INT,
     AT(waiting),
     .fallback = "4096",
     .min = 2,
     .max = 1000000,
     .doc = "The same for all clients together. No client may have more requests waiting than there is space left."},
    {.name = "head_size",
     .type = CONFIG_SIZE,
     AT(head_bytes),
     .fallback = "32KiB",
     .min = 1024,
     .max = MiB,
     .doc = "Maximum size of a request's head. Larger ones are answered 431."},
    {.name = "head_time",
     .type = CONFIG_DURATION,
     AT(head_ms),
     .fallback = "10s",
     .min = 100,
     .max = 3600000,
     .doc = "Time from a request's first byte to the end of its head. Slower ones are answered 408."},
    {.name = "idle_time",
     .type = CONFIG_DURATION,
     AT(idle_ms),
     .fallback = "2m",
     .min = 100,
     .max = 86400000,
     .doc = "How long a connection may wait between requests."},
    {.name = "send_stall",
     .type = CONFIG_DURATION,
     AT(send_stall_ms),
     .fallback = "1m",
     .min = 100,
     .max = 86400000,
     .doc = "A client that accepts no byte for this long is disconnected."},
    {.name = "body_rate",
     .type = CONFIG_RATE,
     AT(body_rate_bytes_per_s),
     .fallback = "1KiB/s",
     .doc = "Request bodies slower than this over 10 s are answered 408. 0: no limit."},
};
const struct config_schema node_limits_keys = CONFIG_SCHEMA(limits_keys);

static const struct config_key threads_keys[] = {
    {.name = "serving",
     .type = CONFIG_INT,
     AT(serving_loops),
     .fallback = "0",
     .max = 256,
     .doc = "Threads that serve clients. 0: one for each core."},
};
const struct config_schema node_threads_keys = CONFIG_SCHEMA(threads_keys);

const char *const node_tls_words[] = {[REGISTRY_TLS_FILES] = "files", [REGISTRY_TLS_FLEET] = "fleet", NULL};

int node_config_check(struct config_load *load, struct node_config *node, const char *name, struct error *err) {
    if (!node->registry_cert_file != !node->registry_key_file) {
        bool have_cert = node->registry_cert_file;
        return config_load_error(load, have_cert ? "registry.cert_file" : "registry.key_file", err, "needs %s as well",
                                 have_cert ? "registry.key_file" : "registry.cert_file");
    }
    if (node->registry_tls == REGISTRY_TLS_FLEET && node->registry_cert_file)
        return config_load_error(load, "registry.tls", err,
                                 "\"fleet\" goes without registry.cert_file and registry.key_file: the certificate is "
                                 "the fleet's, or that of the files");
    const struct {
        const char *key, *address;
    } listen[] = {{"registry.listen", node->registry_listen},
                  {"admin.listen", node->admin_listen},
                  {"fleet.listen", node->node_listen}};
    for (size_t i = 0; i < ARRAY_LEN(listen); i++) {
        for (size_t j = 0; j < i; j++) {
            if (!listen[i].address || !listen[j].address || !config_listen_clash(listen[i].address, listen[j].address))
                continue;
            return config_load_error(load, listen[i].key, err, "\"%.60s\" is taken by %s (%.60s)", listen[i].address,
                                     listen[j].key, listen[j].address);
        }
    }
    if (!node->data) return config_default_data(name, &node->data, err);
    struct stat st;
    if (stat(node->data, &st) < 0 || S_ISDIR(st.st_mode)) return 0; /* a folder is made at the start */
    return config_load_error(load, "data", err, "%.300s is not a folder", node->data);
}
