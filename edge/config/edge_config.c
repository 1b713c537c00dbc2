/* The edge's schema, and the rules about several of its keys. Thread: main. */
#include "edge/config/edge_config.h"

#include <string.h>

#include "common/core/alloc.h"
#include "common/core/host_port.h"
#include "common/http/client.h"
#include "common/identity/member.h"
#include "common/config/node_schema.h"

static const struct config_key registry_keys[] = {
    NODE_KEY_LISTEN(":5050", "Address and port of the registry API."),
    NODE_KEY_NAMES,
    NODE_KEY_TRUSTED_PROXIES,
    NODE_KEY_TLS("It bears registry.names, address, this machine's addresses and name, as far as central grants them; "
                 "the edge must have joined."),
    NODE_KEY_CERT_FILE,
    NODE_KEY_KEY_FILE,
};
static const struct config_schema registry_schema = CONFIG_SCHEMA(registry_keys);

static const struct config_key admin_keys[] = {NODE_KEY_ADMIN_LISTEN("127.0.0.1:5052"), NODE_KEY_ADMIN_NAMES};
static const struct config_schema admin_schema = CONFIG_SCHEMA(admin_keys);

static const struct config_key peers_keys[] = {
    {.name = "listen",
     .type = CONFIG_STRING,
     .no_effect = true,
     .check = config_check_listen,
     .example = ":5051",
     .doc = "Address and port that sibling edges connect to."},
};
static const struct config_schema peers_schema = CONFIG_SCHEMA(peers_keys);

#define PORT_KEY(f) offsetof(struct edge_config, dns.f)
static const struct config_key dns_keys[] = {
    {.name = "listen",
     .type = CONFIG_STRING,
     .at = PORT_KEY(listen),
     .check = config_check_listen,
     .example = ":53",
     .doc =
         "Address and port, UDP and TCP, by which this edge answers for central's dns.zone, too. Absent: it does not."},
    DNS_KEYS_OF_PORT(PORT_KEY),
};
static const struct config_schema dns_schema_of_edge = CONFIG_SCHEMA(dns_keys);

static const struct config_key replica_keys[] = {
    {.name = "limit",
     .type = CONFIG_SIZE,
     .at = offsetof(struct edge_config, replica_limit),
     .fallback = "256MiB",
     .min = MiB,
     .max = 64 * GiB,
     .doc =
         "Bytes of memory that the copy of central's catalogue may take; a million blobs take about 60 MiB. What does "
         "not fit is asked of central when it is needed."},
};
static const struct config_schema replica_schema = CONFIG_SCHEMA(replica_keys);

static const struct config_key prefetch_keys[] = {
    {.name = "rate",
     .type = CONFIG_RATE,
     .no_effect = true,
     .example = "20Mbit/s",
     .doc = "How much of the link prefetching may use."},
};
static const struct config_schema prefetch_schema = CONFIG_SCHEMA(prefetch_keys);

static const char *const fallback_words[] = {[FALLBACK_OFF] = "off", [FALLBACK_UPSTREAM] = "upstream", NULL};

static int proxy_check(const char *value, struct error *err) {
    struct http_proxy proxy;
    if (strcmp(value, HTTP_PROXY_OFF) == 0) return 0;
    int r = http_proxy_read("this", value, &proxy, err);
    if (r == 0) http_proxy_fini(&proxy);
    return r;
}

/* Who gives a host alone means central's fleet port there. */
static int central_check(const char *value, struct error *err) {
    struct host_port hp;
    int r = config_check_url(value, err);
    if (r < 0 && !strpbrk(value, "@/") && host_port_parse(&hp, value) && hp.host[0] && hp.port < 0)
        error_hint(err, "http://%.100s:5001 or https://%.100s:5001", value, value);
    return r;
}

static const struct config_key edge_keys[] = {
    {.name = "central",
     .type = CONFIG_STRING,
     .at = offsetof(struct edge_config, central),
     .check = central_check,
     .fallback = "http://127.0.0.1:5001",
     .doc =
         "URL of central's fleet port; `join` writes it. With https, an edge that has joined trusts the roots of its "
         "fleet alone."},
    {.name = "central_proxy",
     .type = CONFIG_STRING,
     .at = offsetof(struct edge_config, central_proxy),
     .check = proxy_check,
     .shown = "https_proxy, all_proxy and no_proxy of the environment",
     .example = "http://proxy.branch.example:3128",
     .doc = "The HTTP proxy through which an edge that has joined, and `join` itself, reach central (by CONNECT; TLS "
            "stays between edge and central). `off`: none, whatever the environment says. USER:PASSWORD@ may stand "
            "before the host."},
    {.name = "central_requests",
     .type = CONFIG_INT,
     .at = offsetof(struct edge_config, central_requests),
     .fallback = "128",
     .min = 4,
     .max = 10000,
     .doc = "How many requests to central may run at the same time, shared fairly among clients. Further ones wait "
            "(see limits.waiting). Central refuses more connections than its own limits.connections_per_address."},
    {.name = "fallback",
     .type = CONFIG_WORD,
     .at = offsetof(struct edge_config, fallback),
     .words = fallback_words,
     .fallback = "off",
     .doc =
         "What this edge does for content that it does not hold while central cannot be reached. `upstream`: it asks "
         "the upstreams that central last told it, without central's accounts, so only for what is public, and never "
         "for what central hosts. `off`: such requests fail."},
    NODE_KEY_ADDRESS,
    NODE_KEY_GROUP("registry", registry_schema, "The registry API, for the branch's container engines."),
    NODE_KEY_GROUP("admin", admin_schema, "Health and metrics."),
    NODE_KEY_DATA("/var/lib/entrepot/edge; for a plain user ~/.local/share/entrepot/edge"),
    NODE_KEY_GROUP("store", node_store_keys, "Disk space for blobs."),
    NODE_KEY_GROUP("memory", node_memory_keys, "Limits on what is kept in memory."),
    NODE_KEY_GROUP("replica", replica_schema,
                   "The copy of central's catalogue, from which tags and sizes are answered."),
    NODE_KEY_GROUP("dns", dns_schema_of_edge,
                   "A DNS server beside central's, so that names are found in the branch while central is away."),
    NODE_KEY_STALE_FOR("How long a tag is served, marked as stale, while central cannot be reached; and how long the "
                       "DNS here answers by what central said last."),
    {.name = "pull_counts",
     .type = CONFIG_INT,
     .at = offsetof(struct edge_config, pull_names),
     .fallback = "10000",
     .min = 100,
     .max = 1000000,
     .doc = "For how many tags pulls are counted apart on the disk (about 100 bytes each) while central cannot be "
            "reached. Beyond that the least pulled are counted together."},
    NODE_KEY_GROUP("log", node_log_keys, "What is written to standard error."),
    NODE_KEY_GROUP("limits", node_limits_keys, "Limits for clients."),
    NODE_KEY_GROUP("threads", node_threads_keys, "Numbers of threads."),
    NODE_KEY_DRAIN,
    {.name = "site",
     .type = CONFIG_STRING,
     .at = offsetof(struct edge_config, site),
     .check = member_name_check,
     .example = "shanghai",
     .doc = "The branch office this edge stands in. `join` writes it, as the token says it."},
    NODE_KEY_GROUP("peers", peers_schema, "Serving sibling edges."),
    NODE_KEY_GROUP("prefetch", prefetch_schema, "Fetching content before the branch asks for it."),
};
const struct config_schema edge_config_schema = CONFIG_SCHEMA(edge_keys);

/* A note about a URL without a port or with more than a port, which is seldom intended. NULL: nothing to note. */
static const char *note_on(const char *central) {
    struct http_url u;
    if (!http_url_parse(central, &u)) return NULL;
    if (u.path[0])
        return "central's URL has a path, which is put before every request, but central itself serves no prefix";
    struct host_port hp;
    if (host_port_parse(&hp, strstr(central, "://") + 3) && hp.port < 0)
        return "central's URL names no port, so it is that of http (80) or https (443); central's fleet port is 5001 "
               "by "
               "default";
    if (http_host_class(u.host) == HTTP_ADDR_LOOPBACK || strcmp(u.scheme, "https") == 0) return NULL;
    return "central is not on this machine, and its fleet port answers others over https only: write https://, and let "
           "this edge join (entrepot-edge join TOKEN)";
}

static int edge_check(struct config_load *load, struct node_config *node, struct error *err) {
    struct edge_config *c = (struct edge_config *)node;
    size_t len = strlen(c->central);
    while (len && c->central[len - 1] == '/')
        c->central[--len] = '\0';
    node->note = note_on(c->central);
    return node_config_check(load, node, "edge", err);
}

int edge_config_load(const struct config_source *src, struct node_config **out, struct error *err) {
    struct edge_config *c = xcalloc(1, sizeof *c);
    c->node.kind = NODE_EDGE;
    c->node.program = "entrepot-edge";
    struct config_source own = *src;
    if (!own.default_file) own.default_file = EDGE_CONFIG_FILE;
    int r = config_load(&edge_config_schema, &own, &c->node, edge_check, err);
    if (r < 0) {
        free(c);
        return r;
    }
    *out = &c->node;
    return 0;
}

void edge_config_free(struct node_config *node) {
    if (!node) return;
    config_free(&edge_config_schema, node);
    free(node);
}
