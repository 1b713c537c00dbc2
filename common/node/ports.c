/* The servers of a node. Thread: as ports.h says. */
#include "common/node/ports.h"

#include "common/wire/node_headers.h"
#include "common/wire/edge_report.h"
#include "common/wire/wire.h"
#include "common/oci/request.h"
#include "common/access/forwarded.h"
#include "common/access/own_names.h"
#include "common/admin/api.h"
#include "common/admin/control_client.h"
#include "common/admin/engine_files.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/host_port.h"
#include "common/http/client.h"
#include "common/http/tls.h"
#include "common/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SERVERS_MAX 4
/* Edges keep one connection busy by their reports. What a pull needed beside it costs memory for each of thousands. */
#define EDGE_IDLE_MS 30000

struct ports {
    struct node *node;
    struct ports_config cfg;
    struct route_table routes;
    struct proxies proxies;
    struct own_names own_names;
    bool node_on_loopback; /* the port for nodes is reached from this machine alone */
    struct api *api;
    struct tls_server *tls; /* of the registry port; NULL: it has none. Of files, unless a part has it */
    struct http_server *servers[SERVERS_MAX];
    unsigned n_servers, n_draining;
    unsigned n_public; /* the first so many are for clients and nodes; the others answer until those are drained */
    int64_t drained_by_ms;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* --- requests --- */

/* Every edge reports each second, and asks for its settings every few. */
static bool is_usual(const struct http_access *a) {
    return a->status == 200 && (strcmp(a->target, WIRE_SETTINGS_PATH) == 0 || strcmp(a->target, WIRE_REPORT_PATH) == 0);
}

static void on_access(const struct http_access *a, void *arg) {
    const struct ports *p = arg;
    metric_http(a->target, a->status, a->first_byte_us, a->duration_us);
    if (!p->node->config->access_log) return;
    if (is_usual(a) && !log_enabled(LOG_LEVEL_DEBUG)) return;
    log_info("access", KV_S("remote", a->remote), KV_S("method", a->method), KV_S("target", a->target),
             KV_I("status", a->status), KV_I("bytes", a->body_bytes_sent),
             KV_F("seconds", (double)a->duration_us / 1e6), KV_S("cache", a->note), KV_S("request_id", a->request_id),
             KV_S("agent", a->user_agent), KV_I("aborted", a->aborted),
             a->about[0] ? KV_S("repository", a->about) : (struct log_kv){0});
}

/* A proxy that is trusted says whose request it is. */
static void see_through_proxy(const struct proxies *p, struct http_req *req, struct caller *caller) {
    struct ip peer, client;
    if (p->n == 0 || !http_req_peer(req, &peer) || !proxies_have(p, &peer)) return;
    client = forwarded_client(p, &peer, http_req_header(req, "X-Forwarded-For"), http_req_header(req, "Forwarded"));
    http_req_set_remote(req, &client);
    caller_set(caller, caller->kind, &client);
}

static void on_registry_request(struct http_req *req, void *arg) {
    const struct ports *p = arg;
    struct caller caller;
    caller_of_peer(&caller, CALLER_CLIENT, req);
    see_through_proxy(&p->proxies, req, &caller);
    registry_handle(p->node->registry, req, &caller);
}

#define MISDIRECTED                                                                                           \
    "this port does not answer for that name: ask by an address of this machine, or add the name to the key " \
    "admin.names"

/* 403 with the reason, in a header, too: an edge that asks for bytes sees that alone. */
static void refuse(struct http_req *req, const struct error *err) {
    http_reply_header(req, REFUSED_HEADER, err->msg);
    http_reply_text(req, 403, err->msg);
}

/* A port that only this machine reaches: whoever comes from elsewhere has come through a tunnel, which has asked who it
 * is. */
static bool is_on_loopback(const char *listen) {
    struct host_port at;
    return host_port_parse(&at, listen) && http_host_class(at.host) == HTTP_ADDR_LOOPBACK;
}

/* Over TLS the certificate decides. */
static bool may_enter(const struct ports *p, struct http_req *req) {
    const struct gate *gate = p->node->gate;
    struct error err = {0};
    if (http_req_is_tls(req)) {
        if (gate->admit(req, &err, gate->arg) == 0) return true;
        refuse(req, &err);
        return false;
    }
    if (!p->node_on_loopback) {
        error_set(&err, ERR_DENIED,
                  "this port speaks TLS with edges of its fleet (https): join first, by entrepot-edge join");
        refuse(req, &err);
        return false;
    }
    /* Edges reach it by many names; only a browser on this machine must not be led here. */
    if (own_names_have(&p->own_names, http_req_header(req, "Host"))) return true;
    http_reply_text(req, 421, MISDIRECTED);
    return false;
}

static void on_node_request(struct http_req *req, void *arg) {
    const struct ports *p = arg;
    struct route_hit hit;
    char allow[METHODS_TEXT_MAX];
    if (!may_enter(p, req)) return;
    if (oci_is_api(http_req_target(req))) {
        struct caller caller;
        caller_of_node(&caller, req);
        registry_handle(p->node->registry, req, &caller);
        return;
    }
    switch (routes_find(&p->routes, PORT_NODE, http_req_target(req), http_req_method(req), &hit)) {
    case ROUTE_FOUND:
        hit.route->handler(req, hit.arg);
        return;
    case ROUTE_OTHER_METHOD:
        http_reply_header(req, "Allow", methods_text(hit.allowed, allow));
        http_reply_text(req, 405, "this call takes another method");
        return;
    case ROUTE_OTHER_PORT:
    case ROUTE_NO_PATH:
        http_reply_text(req, 404, "no such call on the fleet port");
        return;
    }
}

static void on_admin_request(struct http_req *req, void *arg) {
    const struct ports *p = arg;
    if (own_names_have(&p->own_names, http_req_header(req, "Host")))
        api_handle_admin(req, p->api);
    else
        http_reply_text(req, 421, MISDIRECTED);
}

static void on_v2(struct http_req *req, void *arg) {
    registry_handle(((struct ports *)arg)->node->registry, req, &(struct caller){.kind = CALLER_SOCKET});
}

/* The fleet port is left out: central makes that certificate itself. */
static void collect_certificate(struct metric_page *page, void *arg) {
    const struct ports *p = arg;
    int64_t end = p->tls ? tls_server_not_after(p->tls) : 0;
    if (end) metric_label_set(page, FAMILY_CERTIFICATE_END, "registry", NULL, (double)end);
}

static void status(json_t *into, void *arg) {
    const struct ports *p = arg;
    int64_t end = p->tls ? tls_server_not_after(p->tls) : 0;
    if (end) json_object_set_new(into, "certificate_not_after", json_integer(end));
    parts_status(p->node, into);
}

static void doctor(json_t *into, void *arg) {
    parts_doctor(((struct ports *)arg)->node, into);
}

static void ready(json_t *into, void *arg) {
    parts_ready(((struct ports *)arg)->node, into);
}

/* --- opening --- */

static void set_limits(const struct ports *p, struct http_limits *l) {
    const struct node_config *node = p->node->config;
    http_limits_default(l);
    l->head_bytes = (size_t)node->head_bytes;
    l->head_ms = node->head_ms;
    l->idle_ms = node->idle_ms;
    l->send_stall_ms = node->send_stall_ms;
    l->body_rate_bytes_per_s = node->body_rate_bytes_per_s;
    l->conns_per_addr = node->conns_per_addr;
    l->conns = node->conns < p->cfg.max_connections ? node->conns : p->cfg.max_connections;
}

static int add_server(struct ports *p, const char *address, enum http_tls_mode mode,
                      void (*handler)(struct http_req *, void *), void *arg, bool counted, struct error *err) {
    const struct gate *gate = mode == HTTP_TLS_EITHER ? p->node->gate : NULL;
    struct http_server_config cfg = {
        .address = address,
        .loops = p->cfg.loops,
        .n_loops = p->node->n_serving,
        .tls_mode = mode,
        .tls = gate ? gate->tls : p->tls,
        .peers = gate ? &gate->peers : NULL,
        .reads = p->node->reads,
        .handler = handler,
        .access = counted ? on_access : NULL,
        .error_body = registry_error_body,
        .arg = arg,
    };
    set_limits(p, &cfg.limits);
    if (gate && cfg.limits.idle_ms > EDGE_IDLE_MS) cfg.limits.idle_ms = EDGE_IDLE_MS;
    if (handler == on_registry_request) {
        cfg.limits.not_counted = p->proxies.networks;
        cfg.limits.n_not_counted = p->proxies.n;
    }
    if (strncmp(address, "unix:", strlen("unix:")) == 0) cfg.limits.conns_per_addr = 0; /* commands are not clients */
    int r = http_server_new(&p->servers[p->n_servers], &cfg, err);
    if (r == 0) p->n_servers++;
    return r;
}

static void make_api(struct ports *p) {
    struct node *n = p->node;
    struct api_hooks hooks = {
        .facts = {.node = n->config,
                  .health = p->cfg.health,
                  .registry_server = p->servers[0],
                  .loops = p->cfg.loops,
                  .loop_names = p->cfg.loop_names,
                  .n_loops = p->cfg.n_loops,
                  .started_at = clock_wall_s()},
        .pool = n->pool,
        .routes = &p->routes,
        .status = status,
        .doctor = doctor,
        .ready = ready,
        .v2 = on_v2,
        .arg = p,
    };
    p->api = api_new(&hooks);
}

static int make_tls(struct ports *p, struct error *err) {
    const struct node_config *node = p->node->config;
    p->tls = p->node->registry_tls;
    if (p->tls || !node->registry_cert_file) return 0;
    return tls_server_new(&p->tls, node->registry_cert_file, node->registry_key_file, err);
}

static bool collect(const void *data, size_t len, void *arg) {
    return buf_add(arg, data, len) == 0;
}

/* Finds out which program has the address that this node should listen on. */
static bool held_by_entrepot(const struct node_config *node) {
    struct client_facts facts;
    struct error ignored = {0};
    struct buf said;
    char base[CLIENT_HOST_MAX + 16];
    client_facts_find(&facts, node);
    snprintf(base, sizeof(base), "%s://%s", facts.tls ? "https" : "http", facts.host);
    buf_init(&said, 4096);
    _cleanup_(control_closep) struct control *c = NULL;
    struct control_request rq = {.method = "GET", .path = "/", .timeout_ms = 2000, .data = collect, .arg = &said};
    bool ours = control_open_url(&c, node, base, true, &ignored) == 0 && control_ask(c, &rq, NULL, &ignored) == 0 &&
                said.data && memmem(said.data, said.len, "Entrepot", strlen("Entrepot"));
    buf_fini(&said);
    return ours;
}

/* Adds to the error the key that sets the address. */
static int not_listening(const char *key, struct error *err) {
    return error_wrap(err, "%s", key);
}

/* The errors of all the node's addresses that are taken, so that nobody finds them out one start after another. */
static int check_addresses(const struct node_config *node, struct error *err) {
    const struct {
        const char *key, *address, *more;
    } all[] = {{"registry.listen", node->registry_listen, ""},
               {"fleet.listen", node->node_listen, " (and the same in the key central of its edges)"},
               {"admin.listen", node->admin_listen, ""}};
    struct error first = {0};
    char sets[300] = "";
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct error one = {0};
        if (!all[i].address || http_listen_check(all[i].address, &one) != -EADDRINUSE) continue;
        size_t len = strlen(sets), said = strlen(first.msg);
        snprintf(sets + len, sizeof(sets) - len, " --set %s=HOST:PORT%s", all[i].key, all[i].more);
        if (n++ == 0) {
            first = one;
            error_wrap(&first, "%s", all[i].key);
        } else {
            snprintf(first.msg + said, sizeof(first.msg) - said, "; %s: %s", all[i].key, one.msg);
        }
    }
    if (n == 0) return 0;
    *err = first;
    if (http_listen_check(node->registry_listen, &first) == -EADDRINUSE && held_by_entrepot(node))
        error_hint(err,
                   "another Entrepot node listens there, maybe another user's: use that one, or stop it, or choose "
                   "%s with%s",
                   n > 1 ? "other addresses" : "another address", sets);
    else
        error_hint(err, "something already listens there: stop it, or choose %s with%s",
                   n > 1 ? "other addresses" : "another address", sets);
    return err->code;
}

static int open_all(struct ports *p, struct error *err) {
    const struct node_config *node = p->node->config;
    int r = check_addresses(node, err);
    if (r == 0) r = make_tls(p, err);
    if (r < 0) return r;
    enum http_tls_mode mode = p->tls ? HTTP_TLS_ON : HTTP_TLS_OFF;
    r = add_server(p, node->registry_listen, mode, on_registry_request, p, true, err);
    if (r < 0) return not_listening("registry.listen", err);
    if (node->node_listen) {
        mode = p->node->gate ? HTTP_TLS_EITHER : HTTP_TLS_OFF;
        r = add_server(p, node->node_listen, mode, on_node_request, p, true, err);
        if (r < 0) return not_listening("fleet.listen", err);
    }
    p->n_public = p->n_servers;
    make_api(p);
    r = add_server(p, node->admin_listen, HTTP_TLS_OFF, on_admin_request, p, false, err);
    if (r < 0) return not_listening("admin.listen", err);
    char path[CONTROL_PATH_MAX], address[CONTROL_PATH_MAX + 8];
    r = control_socket_path(node->data, path, err);
    if (r < 0) return r;
    snprintf(address, sizeof(address), "unix:%s", path);
    return add_server(p, address, HTTP_TLS_OFF, api_handle_control, p->api, false, err);
}

static void read_proxies(struct ports *p) {
    const struct node_config *node = p->node->config;
    p->proxies.networks = xcalloc(node->n_trusted_proxies, sizeof(*p->proxies.networks));
    for (size_t i = 0; i < node->n_trusted_proxies; i++)
        if (network_parse(&p->proxies.networks[p->proxies.n], node->trusted_proxies[i])) p->proxies.n++;
}

int ports_open(struct ports **out, struct node *n, const struct ports_config *cfg, struct error *err) {
    struct ports *p = xcalloc(1, sizeof(*p));
    p->node = n;
    p->cfg = *cfg;
    read_proxies(p);
    own_names_init(&p->own_names, n->config);
    /* Once, not for each request: the resolver is asked, which may read files. */
    p->node_on_loopback = n->config->node_listen && is_on_loopback(n->config->node_listen);
    parts_routes(n, &p->routes);
    int r = open_all(p, err);
    if (r < 0) {
        ports_free(p);
        return r;
    }
    metrics_collect(collect_certificate, p);
    *out = p;
    return 0;
}

struct tls_server *ports_tls(struct ports *p) {
    return p->tls;
}

/* --- closing --- */

static void drain(struct ports *p, unsigned from, unsigned to);

static void one_drained(void *arg) {
    struct ports *p = arg;
    if (--p->n_draining > 0) return;
    if (p->n_public < p->n_servers) {
        unsigned from = p->n_public;
        p->n_public = p->n_servers;
        drain(p, from, p->n_servers);
    } else {
        p->drained(p->drained_arg);
    }
}

/* A serving loop: one server has no connections left. */
static void on_drained(void *arg) {
    struct ports *p = arg;
    loop_call(p->node->control, one_drained, p);
}

static void drain(struct ports *p, unsigned from, unsigned to) {
    int64_t left = p->drained_by_ms - clock_mono_ms();
    p->n_draining = to - from;
    for (unsigned i = from; i < to; i++)
        http_server_drain(p->servers[i], left > 0 ? left : 0, on_drained, p);
}

void ports_drain(struct ports *p, int64_t within_ms, void (*done)(void *arg), void *arg) {
    api_stop(p->api);
    p->drained = done;
    p->drained_arg = arg;
    p->drained_by_ms = clock_mono_ms() + within_ms;
    drain(p, 0, p->n_public);
}

void ports_free_servers(struct ports *p) {
    for (unsigned i = 0; i < p->n_servers; i++)
        http_server_free(p->servers[i]);
    p->n_servers = 0;
}

void ports_free(struct ports *p) {
    if (!p) return;
    metrics_uncollect(collect_certificate, p);
    ports_free_servers(p);
    if (p->api) api_free(p->api);
    if (p->tls != p->node->registry_tls) tls_server_free(p->tls);
    free(p->proxies.networks);
    own_names_fini(&p->own_names);
    free(p);
}
