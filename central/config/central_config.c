/* Central's schema, and the rules about several of its keys. Thread: main. */
#include "central/config/central_config.h"

#include "common/core/alloc.h"
#include "common/core/host_port.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/oci/resolve.h"
#include "common/oci/usual.h"
#include "common/config/node_schema.h"

static int hosted_check(const char *value, struct error *err) {
    size_t start = 0;
    for (size_t i = 0;; i++) {
        if (value[i] && value[i] != '/') {
            if (strchr("abcdefghijklmnopqrstuvwxyz0123456789._-*", value[i])) continue;
            return error_set(err, ERR_INVALID, "\"%.100s\" holds \"%c\", which no repository name has", value,
                             value[i]);
        }
        size_t len = i - start;
        bool stars = len >= 2 && strstr(value + start, "**") && strstr(value + start, "**") < value + i;
        if (len == 0 || (stars && len != 2)) {
            error_set(err, ERR_INVALID, "\"%.100s\" is not a pattern of repositories", value);
            error_hint(
                err,
                "\"*\" stands for part of a name, \"**\" between slashes for any number of names: acme/**, team-*/app");
            return ERR_INVALID;
        }
        if (!value[i]) return 0;
        start = i + 1;
    }
}

static int default_upstream_check(const char *value, struct error *err) {
    return *value ? config_check_host_port(value, err) : 0;
}

static int fleet_address_check(const char *value, struct error *err) {
    struct host_port hp;
    int r = config_check_host_port(value, err);
    if (r == 0 && (!host_port_parse(&hp, value) || hp.port <= 0))
        r = error_set(err, ERR_INVALID, "\"%.100s\" has no port: write HOST:PORT", value);
    return r;
}

#define UP(f) .at = offsetof(struct upstream_config, f)
static const struct config_key upstream_keys[] = {
    {.name = "name",
     .type = CONFIG_STRING,
     UP(name),
     .required = true,
     .check = config_check_host_port,
     .example = "docker.io",
     .doc = "The registry's name as in image names: a host, or HOST:PORT."},
    {.name = "endpoints",
     .type = CONFIG_STRINGS,
     UP(endpoints),
     .count_at = offsetof(struct upstream_config, n_endpoints),
     .check = config_check_url,
     .shown = "https://NAME",
     .example = "[https://registry-1.docker.io]",
     .doc = "URLs of the registry. With several, the healthy and faster one is asked first. The API is under /v2/ of "
            "each URL. A URL with /v2 in its path is a project within a registry: https://harbor.example/v2/hub-proxy "
            "is asked for /v2/hub-proxy/library/nginx/."},
    {.name = "username",
     .type = CONFIG_STRING,
     UP(username),
     .example = "acme",
     .doc = "Account to sign in with; needs password_file."},
    {.name = "password_file",
     .type = CONFIG_FILE,
     UP(password_file),
     .example = "/etc/entrepot/docker.io.password",
     .doc = "File whose first line is the password or access token."},
    {.name = "ca_file",
     .type = CONFIG_FILE,
     UP(ca_file),
     .shown = "the system's",
     .example = "/etc/entrepot/partner-ca.pem",
     .doc = "PEM file of the certificate authorities trusted for this upstream instead of the system's."},
    {.name = "fresh_for",
     .type = CONFIG_DURATION,
     UP(fresh_for_ms),
     .fallback = "60s",
     .doc = "How long a tag is served before it is checked at the upstream again; until then it is fresh."},
    {.name = "max_parallel",
     .type = CONFIG_INT,
     UP(max_parallel),
     .fallback = "16",
     .min = 1,
     .max = 1024,
     .doc = "How many requests to this upstream may run at the same time."},
    {.name = "revalidate",
     .type = CONFIG_FREQUENCY,
     UP(revalidate),
     .fallback = "2/s",
     .max = 1000,
     .doc =
         "How often central may check a tag of this upstream by itself when fresh_for is over, so that edges need not "
         "ask. Tags that were asked for most are checked first; one that nobody asked for during ten times fresh_for "
         "is left alone. 0: never."},
};
static const struct config_schema upstream_schema = CONFIG_SCHEMA(upstream_keys);

static const struct config_key registry_keys[] = {
    NODE_KEY_LISTEN(":5000", "Address and port of the registry API."),
    {.name = "port",
     .type = CONFIG_INT,
     .at = offsetof(struct central_config, registry_port),
     .fallback = "5000",
     .min = 1,
     .max = 65535,
     .doc =
         "The port of the registry API that clients use with registry.ZONE, the same on central and on every edge. The "
         "DNS names no edge that does not listen on it."},
    NODE_KEY_NAMES,
    NODE_KEY_TRUSTED_PROXIES,
    NODE_KEY_TLS("It bears registry.names, address and the names of dns.zone. Edges with this key get certificates for "
                 "registry.names, for their site's names in dns.zone, and for what is their own."),
    NODE_KEY_CERT_FILE,
    NODE_KEY_KEY_FILE,
};
static const struct config_schema registry_schema = CONFIG_SCHEMA(registry_keys);

#define AT(f) .at = offsetof(struct central_config, f)
static const struct config_key fleet_keys[] = {
    {.name = "listen",
     .type = CONFIG_STRING,
     AT(node.node_listen),
     .check = config_check_listen,
     .fallback = ":5001",
     .doc =
         "Address and port that edges connect to. It speaks TLS with edges that have joined "
         "and with nobody else (operating.md, Add a branch). On a loopback address, where a tunnel may end, it answers "
         "plain HTTP, too."},
    {.name = "addresses",
     .type = CONFIG_STRINGS,
     AT(fleet_addresses),
     .count_at = offsetof(struct central_config, n_fleet_addresses),
     .check = fleet_address_check,
     .fallback = "[]",
     .example = "[\"central.acme.example:5001\"]",
     .doc =
         "HOST:PORT by which edges reach fleet.listen, in the order to try; `edge invite` writes them into its tokens, "
         "and edges that have joined are told them, so that they find central when it has moved. Read again on SIGHUP. "
         "Without any: the host of fleet.listen, else the key address, else this machine's own address."},
    {.name = "ca_key_file",
     .type = CONFIG_PATH,
     AT(ca_key_file),
     .shown = "DATA/identity/root.key.pem",
     .example = "/media/safe/entrepot-root.key.pem",
     .doc =
         "Where the key of the fleet's root certificate is. It is made there at the first start and may then be taken "
         "away: central runs without it. `ca rotate` writes the next root's key there."},
    {.name = "certificate",
     .type = CONFIG_DURATION,
     AT(certificate_ms),
     .fallback = "30d",
     .min = 2000,
     .max = 366 * 86400000LL,
     .doc = "How long the certificate of an edge lasts. It is renewed when half of that is over."},
    {.name = "rejoin_window",
     .type = CONFIG_DURATION,
     AT(rejoin_window_ms),
     .fallback = "90d",
     .max = 3660 * 86400000LL,
     .doc =
         "How long after the end of its certificate an edge that was off-line can still renew it. After that it must "
         "join anew."},
    {.name = "heartbeat",
     .type = CONFIG_DURATION,
     AT(heartbeat_ms),
     .fallback = "1s",
     .min = 200,
     .max = 60000,
     .doc = "How often each edge reports to central how it is. With dns.zone at most half of dns.silent_after."},
    {.name = "holdings",
     .type = CONFIG_INT,
     AT(holdings_blobs),
     .fallback = "4000000",
     .min = 1000,
     .max = 60000000,
     .doc =
         "How many different blobs central remembers of all that edges hold, half of them of one edge. A million take "
         "about 45 MiB of memory, and 125 KiB for each edge that holds a tenth of them. What is beyond that is not "
         "known to be held."},
    {.name = "pull_counts",
     .type = CONFIG_INT,
     AT(pull_names),
     .fallback = "100000",
     .min = 100,
     .max = 10000000,
     .doc = "For how many tags pulls are counted apart, as edges report them. Beyond that the least pulled are counted "
            "together."},
    {.name = "watch_queue",
     .type = CONFIG_SIZE,
     .at = offsetof(struct central_config, watch_queue),
     .fallback = "1MiB",
     .min = 65536,
     .max = 1LL << 30,
     .doc =
         "Bytes of changes that may wait for one edge. An edge that does not read them is cut off, and fetches what it "
         "missed when it is back."},
};
static const struct config_schema fleet_schema = CONFIG_SCHEMA(fleet_keys);

static const struct config_key admin_keys[] = {NODE_KEY_ADMIN_LISTEN("127.0.0.1:5002"), NODE_KEY_ADMIN_NAMES};
static const struct config_schema admin_schema = CONFIG_SCHEMA(admin_keys);

static const struct config_key mirror_keys[] = {
    {.name = "repository",
     .type = CONFIG_STRING,
     .required = true,
     .no_effect = true,
     .example = "docker.io/library/nginx",
     .doc = "Canonical name of the repository."},
    {.name = "tags",
     .type = CONFIG_STRINGS,
     .no_effect = true,
     .example = "[\"1.*\", stable]",
     .doc = "Patterns of tags."},
    {.name = "platforms",
     .type = CONFIG_STRINGS,
     .no_effect = true,
     .example = "[linux/amd64]",
     .doc = "Platforms to fetch."},
    {.name = "every", .type = CONFIG_DURATION, .no_effect = true, .example = "1h", .doc = "How often."},
};
static const struct config_schema mirror_schema = CONFIG_SCHEMA(mirror_keys);

static const char *const deleted_words[] = {[DELETED_SERVE] = "serve", [DELETED_HIDE] = "hide", NULL};

static const char *const redirect_words[] = {[REDIRECT_EDGES] = "edges", [REDIRECT_OFF] = "off", NULL};

static const struct config_key catalog_keys[] = {
    {.name = "limit",
     .type = CONFIG_SIZE,
     AT(catalog_limit),
     .fallback = "2GiB",
     .min = 16 * MiB,
     .max = 1024 * GiB,
     .doc = "Bytes that catalog.db may take, beside up to 64 MiB of its write-ahead log. Over it, blobs and tags that "
            "are not held are forgotten, longest lost first. What is held or hosted always stays."},
    {.name = "log_entries",
     .type = CONFIG_INT,
     AT(catalog_log_entries),
     .fallback = "1000000",
     .min = 100,
     .max = 100000000,
     .doc =
         "How many changes catalog.db keeps for edges that were away; it keeps fewer if limit is small. An edge that "
         "missed more fetches the parts of the catalogue that differ."},
};
static const struct config_schema catalog_schema = CONFIG_SCHEMA(catalog_keys);

#define ITEM(name) ", {name: " name "}"
static const struct config_key central_keys[] = {
    {.name = "upstreams",
     .type = CONFIG_ITEMS,
     AT(upstreams),
     .count_at = offsetof(struct central_config, n_upstreams),
     .inner = &upstream_schema,
     .item_size = sizeof(struct upstream_config),
     .item_name = "name",
     .fallback = "[{name: " USUAL_HUB ", endpoints: [\"https://" USUAL_HUB_HOST "\"]}" USUAL_OTHERS(ITEM) "]",
     .doc = "The registries that are mirrored. A list given here replaces the default list, and registries that are "
            "not in it are not used. A proxy is set by the environment variables https_proxy, http_proxy and no_proxy "
            "(see operating.md, Behind a proxy)."},
    {.name = "default_upstream",
     .type = CONFIG_STRING,
     AT(default_upstream),
     .check = default_upstream_check,
     .fallback = USUAL_HUB,
     .doc = "The upstream that a bare name such as `nginx` means. \"\": bare names are unknown."},
    {.name = "hosted",
     .type = CONFIG_STRINGS,
     AT(hosted),
     .count_at = offsetof(struct central_config, n_hosted),
     .check = hosted_check,
     .fallback = "[\"sample/**\"]",
     .doc = "Patterns of repositories that are hosted here and never requested from an upstream. `*` stands for part "
            "of a name, `**` for one or more whole names."},
    NODE_KEY_GROUP("registry", registry_schema, "The registry API, for container engines and edges."),
    NODE_KEY_GROUP("fleet", fleet_schema, "The port for edges."),
    NODE_KEY_GROUP("admin", admin_schema, "Health and metrics."),
    NODE_KEY_ADDRESS,
    NODE_KEY_DATA("/var/lib/entrepot/central; for a plain user ~/.local/share/entrepot/central"),
    NODE_KEY_GROUP("store", node_store_keys, "Disk space for blobs."),
    NODE_KEY_GROUP("catalog", catalog_schema, "Limits on what is known of blobs, manifests and tags."),
    NODE_KEY_GROUP("memory", node_memory_keys, "Limits on what is kept in memory."),
    NODE_KEY_STALE_FOR("How long a tag is served, marked as stale, while its upstream cannot be reached."),
    {.name = "deleted",
     .type = CONFIG_WORD,
     AT(deleted),
     .words = deleted_words,
     .fallback = "serve",
     .doc = "What happens to a tag that its upstream has deleted: it is served as long as it is held, or hidden."},
    NODE_KEY_GROUP("log", node_log_keys, "What is written to standard error."),
    NODE_KEY_GROUP("limits", node_limits_keys, "Limits for clients."),
    NODE_KEY_GROUP("threads", node_threads_keys, "Numbers of threads."),
    NODE_KEY_DRAIN,
    {.name = "mirrors",
     .type = CONFIG_ITEMS,
     .inner = &mirror_schema,
     .item_name = "repository",
     .no_effect = true,
     .example = "[{repository: docker.io/library/nginx, tags: [\"1.*\"], platforms: [linux/amd64], every: 1h}]",
     .doc = "Repositories to fetch on a schedule."},
    {.name = "sites",
     .type = CONFIG_ITEMS,
     AT(sites),
     .count_at = offsetof(struct central_config, n_sites),
     .inner = &site_schema,
     .item_size = sizeof(struct site_config),
     .item_name = "name",
     .example = "[{name: shanghai, networks: [10.1.0.0/16], edges: [{name: sh-1, address: 10.1.0.5}]}]",
     .doc = "The branch offices, for the DNS. Read again on SIGHUP."},
    {.name = "redirect",
     .type = CONFIG_WORD,
     AT(redirect),
     .words = redirect_words,
     .fallback = "edges",
     .doc =
         "What happens when a client of a site comes to central by registry.ZONE, because its resolver does not tell "
         "the DNS the client's subnet: its GETs of blobs are redirected (307) to the edge that the DNS names for its "
         "own address, or central serves it itself. off is for clients that cannot follow, or that do not reach the "
         "edges by EDGE.SITE.ZONE."},
    NODE_KEY_GROUP("dns", dns_schema, "The DNS that sends clients to their nearest edge (see operating.md)."),
};
const struct config_schema central_config_schema = CONFIG_SCHEMA(central_keys);

/* Replaces an alias by docker.io, and gives an upstream without endpoints the one of its own name. */
static void upstream_complete(struct upstream_config *u) {
    for (char *p = u->name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    const char *alias = upstream_alias(u->name);
    if (strcmp(alias, u->name)) {
        char *name = xstrdup(alias);
        free(u->name);
        u->name = name;
    }
    for (size_t i = 0; i < u->n_endpoints; i++) {
        size_t len = strlen(u->endpoints[i]);
        while (len && u->endpoints[i][len - 1] == '/')
            u->endpoints[i][--len] = '\0';
    }
    if (u->n_endpoints) return;
    u->endpoints = xcalloc(1, sizeof *u->endpoints);
    u->endpoints[0] = xasprintf("https://%s", strcmp(u->name, USUAL_HUB) ? u->name : USUAL_HUB_HOST);
    u->n_endpoints = 1;
}

static int upstreams_check(struct config_load *load, struct central_config *c, struct error *err) {
    for (size_t i = 0; i < c->n_upstreams; i++) {
        struct upstream_config *u = &c->upstreams[i];
        char path[64];
        upstream_complete(u);
        snprintf(path, sizeof path, "upstreams[%zu].name", i);
        for (size_t j = 0; j < i; j++) {
            if (strcasecmp(c->upstreams[j].name, u->name)) continue;
            config_load_error(load, path, err, "\"%.100s\" is configured twice, already as upstreams[%zu]", u->name, j);
            int r = config_load_wrong(load, err);
            if (r < 0) return r;
            break;
        }
        snprintf(path, sizeof path, "upstreams[%zu].endpoints", i);
        if (u->n_endpoints > UPSTREAM_ENDPOINTS_MAX)
            return config_load_error(load, path, err, "are %zu; at most %d can be used", u->n_endpoints,
                                     UPSTREAM_ENDPOINTS_MAX);
        if (!u->username == !u->password_file) continue;
        snprintf(path, sizeof path, "upstreams[%zu].%s", i, u->username ? "username" : "password_file");
        config_load_error(load, path, err, "needs %s as well", u->username ? "password_file" : "username");
        int r = config_load_wrong(load, err);
        if (r < 0) return r;
    }
    return 0;
}

static int default_upstream_resolve(struct config_load *load, struct central_config *c, struct error *err) {
    if (!*c->default_upstream) {
        free(c->default_upstream);
        c->default_upstream = NULL;
        return 0;
    }
    const char *name = upstream_alias(c->default_upstream);
    for (size_t i = 0; i < c->n_upstreams; i++) {
        if (strcasecmp(c->upstreams[i].name, name)) continue;
        char *copy = xstrdup(c->upstreams[i].name);
        free(c->default_upstream);
        c->default_upstream = copy;
        return 0;
    }
    config_load_error(load, "default_upstream", err, "\"%.100s\" is not among upstreams", name);
    if (c->n_upstreams) {
        error_hint(err, "set default_upstream to one of them, for example %.100s, or to \"\" for none",
                   c->upstreams[0].name);
    } else {
        error_hint(err, "set default_upstream to \"\" if there are none");
    }
    return ERR_INVALID;
}

static int central_check(struct config_load *load, struct node_config *node, struct error *err) {
    struct central_config *c = (struct central_config *)node;
    int r = upstreams_check(load, c, err);
    if (r < 0) r = config_load_wrong(load, err);
    if (r == 0) r = default_upstream_resolve(load, c, err);
    if (r < 0) r = config_load_wrong(load, err);
    if (r == 0) r = dns_config_check(load, c, err);
    if (r < 0) r = config_load_wrong(load, err);
    if (r == 0) r = node_config_check(load, node, "central", err);
    return r < 0 ? config_load_wrong(load, err) : 0;
}

int central_config_load(const struct config_source *src, struct node_config **out, struct error *err) {
    struct central_config *c = xcalloc(1, sizeof *c);
    c->node.kind = NODE_CENTRAL;
    c->node.program = "entrepot-central";
    struct config_source own = *src;
    if (!own.default_file) own.default_file = CENTRAL_CONFIG_FILE;
    int r = config_load(&central_config_schema, &own, &c->node, central_check, err);
    if (r < 0) {
        free(c);
        return r;
    }
    *out = &c->node;
    return 0;
}

void central_config_free(struct node_config *node) {
    if (!node) return;
    config_free(&central_config_schema, node);
    free(node);
}

struct central_config *central_config_copy(const struct central_config *c) {
    struct central_config *copy = xcalloc(1, sizeof *copy);
    config_copy(&central_config_schema, &copy->node, &c->node, sizeof *copy);
    return copy;
}

long central_upstream_index(const struct central_config *cfg, const char *name) {
    for (size_t i = 0; i < cfg->n_upstreams; i++) {
        if (strcmp(cfg->upstreams[i].name, name) == 0) return (long)i;
    }
    return -1;
}

bool upstream_is_per_repository(const struct upstream_config *u) {
    return u->username != NULL;
}
