/* One node put together, in the order its parts depend on each other, and taken down in the reverse. Thread: main,
 * which becomes the control loop.
 *
 *   store ─▶ tier ─▶ fills ─▶ registry ─▶ servers (bound) ─▶ fetch loop runs ─▶ tier is ready ─▶ serving loops run
 *   SIGTERM ─▶ not ready ─▶ servers drain, those for people last ─▶ fills stop (part files kept) ─▶ loops join ─▶ all
 * is freed */
#include "common/node/runtime.h"

#include "common/core/clock.h"
#include "common/core/digest.h"
#include "common/core/file.h"
#include "common/http/tls.h"
#include "common/oci/manifest.h"
#include "common/admin/api.h"
#include "common/cli/cli.h"
#include "common/config/config.h"
#include "common/config/config_tree.h"
#include "common/admin/control_client.h"
#include "common/node/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CERTIFICATE_CHECK_MS 10000
#define SERVERS_MAX 4
#define LOOPS_MAX 64
#define DESCRIPTORS_KEPT 512

struct node_run {
    struct runtime rt; /* first */
    const struct runtime_tier *tier;
    struct daemon *daemon;
    struct health *health;
    struct api *api;
    struct tls_server *tls, *node_tls;
    struct http_server *servers[SERVERS_MAX];
    unsigned n_servers, n_draining;
    unsigned n_public; /* of them: those for clients and nodes. The others tell how it goes until those are drained */
    int64_t drained_by_ms;
    bool serves;              /* the serving loops run */
    unsigned max_connections; /* as many as there are descriptors for, some kept for files and sources */
    struct loop *serving[LOOPS_MAX];
    const char *loop_names[LOOPS_MAX + 2];
    struct loop *loops[LOOPS_MAX + 2];
    struct timer certificates;
    struct digest config_was; /* of the configuration's file at the start */
};

/* --- requests --- */

static void on_access(const struct http_access *a, void *arg) {
    struct node_run *n = arg;
    metric_http(a->target, a->status, a->first_byte_us, a->duration_us);
    if (!n->rt.node->access_log) return;
    /* Every edge asks for its settings every few seconds. */
    if (strcmp(a->target, "/fleet/v1/lookup?for=settings") == 0 && a->status == 200 && !log_enabled(LOG_LEVEL_DEBUG))
        return;
    log_info("access", KV_S("remote", a->remote), KV_S("method", a->method), KV_S("target", a->target),
             KV_I("status", a->status), KV_I("bytes", a->body_bytes_sent),
             KV_F("seconds", (double)a->duration_us / 1e6), KV_S("cache", a->note), KV_S("request_id", a->request_id),
             KV_S("agent", a->user_agent), KV_I("aborted", a->aborted),
             a->about[0] ? KV_S("repository", a->about) : (struct log_kv){0});
}

static void on_registry_request(struct http_req *req, void *arg) {
    struct node_run *n = arg;
    registry_handle(n->rt.registry, req);
}

static void on_node_request(struct http_req *req, void *arg) {
    struct node_run *n = arg;
    if (strncmp(http_req_target(req), "/v2", 3) == 0)
        registry_handle_node(n->rt.registry, req);
    else
        n->tier->node_request(req, &n->rt);
}

static void on_v2(struct http_req *req, void *arg) {
    registry_handle(((struct runtime *)arg)->registry, req);
}

/* --- what the parts call back --- */

static unsigned fill_sources(const struct fill_spec *spec, struct source *out[FILL_SOURCES_MAX], void *arg) {
    struct node_run *n = arg;
    return n->tier->sources(&spec->repo, out, arg);
}

static const char *fill_scope(const struct fill_spec *spec, char out[REPO_STR_MAX], void *arg) {
    struct node_run *n = arg;
    return n->tier->scope(&spec->repo, out, arg);
}

static void on_received(const char *source, int64_t bytes, void *arg) {
    (void)arg;
    metric_label_add(FAMILY_FETCHED_BYTES, source, bytes);
}

static int inspect_manifest(const void *data, size_t len, char media_type[256], struct digest **children, size_t *n) {
    struct manifest m;
    int r = manifest_parse(&m, data, len, NULL);
    if (r == 0 && !m.media_type[0]) r = ERR_INVALID;
    if (r == 0) {
        snprintf(media_type, 256, "%s", m.media_type);
        *children = calloc(m.n_children + 1, sizeof(**children));
        if (!*children) abort();
        for (size_t i = 0; i < m.n_children; i++)
            (*children)[i] = m.children[i].digest;
        *n = m.n_children;
    }
    manifest_fini(&m);
    return r;
}

/* --- starting --- */

static void make_loops(struct node_run *n) {
    struct runtime *rt = &n->rt;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned serving = rt->node->serving_loops ? rt->node->serving_loops : cores > 0 ? (unsigned)cores : 1;
    rt->n_serving = serving < LOOPS_MAX ? serving : LOOPS_MAX;
    rt->serving = n->serving;
    for (unsigned i = 0; i < rt->n_serving; i++) {
        static char names[LOOPS_MAX][16];
        snprintf(names[i], sizeof(names[i]), "serve-%u", i % LOOPS_MAX);
        n->serving[i] = n->loops[i] = loop_new(names[i]);
        n->loop_names[i] = names[i];
    }
    rt->fetch = n->loops[rt->n_serving] = loop_new("fetch");
    n->loop_names[rt->n_serving] = "fetch";
    rt->pool = workpool_new("work", 4);
    rt->reads = workpool_new("read", 4);
    rt->client = http_client_new(rt->fetch);
}

/* Folders above the data folder that root makes are for all to pass: the same machine's service, which is not root, has
 * its own below them. A user's own stay private, as do the data folders themselves. */
static int make_parents(const char *data, struct error *err) {
    char part[4096];
    size_t len = strlen(data);
    if (geteuid() != 0 || len >= sizeof(part)) return 0;
    memcpy(part, data, len + 1);
    for (char *slash = strchr(part + 1, '/'); slash && slash[1]; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) == 0 && chmod(part, 0755) < 0) return error_errno(err, "making folder %s", part);
        *slash = '/';
    }
    return 0; /* what could not be made is told by whoever makes the last */
}

/* Central's folder and an edge's hold other things under the same names. */
static int check_kind(const struct node_run *n, struct error *err) {
    const struct node_config *node = n->rt.node;
    const char *other = node->kind == NODE_EDGE ? "central" : "edge";
    char path[4200];
    snprintf(path, sizeof(path), "%.4000s/%s", node->data, n->tier->not_with);
    if (access(path, F_OK) < 0) return 0;
    error_set(err, ERR_INVALID, "%s is the data folder of an entrepot-%s: it holds %s", node->data, other,
              n->tier->not_with);
    error_hint(err, "give %s a folder of its own: the key data, or --set data=FOLDER", node->program);
    return ERR_INVALID;
}

/* What cannot be kept is passed through, which nobody sees. */
static void warn_of_no_room(const struct node_run *n) {
    struct store_usage u;
    store_usage(n->rt.store, &u);
    if (u.limit > 0) return;
    log_warn(
        "nothing_can_be_kept", KV_S("data", n->rt.node->data), KV_I("disk_free", u.disk_free),
        KV_I("disk_total", u.disk_total), KV_I("min_free", n->rt.node->store_min_free),
        KV_S("why", "store.min_free is to be left free, and the file system has no more: pulls are passed through"));
}

static int open_store(struct node_run *n, struct error *err) {
    struct store_config sc = {
        .dir = n->rt.node->data,
        .limit = n->rt.node->store_limit,
        .min_free = n->rt.node->store_min_free,
        .pool = n->rt.pool,
        .on_change = n->tier->blob_change,
        .inspect = inspect_manifest,
        .arg = n,
    };
    int r = check_kind(n, err);
    if (r == 0) r = make_parents(n->rt.node->data, err);
    if (r == 0) r = store_open(&n->rt.store, &sc, err);
    if ((r == -EACCES || r == -EROFS || r == -EPERM || r == -ENOTDIR) && !err->hint[0]) {
        error_hint(err, "the data folder must be one that this user may write: the key data, or --set data=FOLDER%s",
                   getenv("INVOCATION_ID") ? "; under systemd also ReadWritePaths=FOLDER in a drop-in" : "");
    }
    if (r == 0) warn_of_no_room(n);
    return r;
}

static void make_parts(struct node_run *n) {
    struct runtime *rt = &n->rt;
    const struct runtime_tier *t = n->tier;
    struct fill_engine_config fc = {
        .loops = &rt->fetch,
        .n_loops = 1,
        .store = rt->store,
        .pool = rt->pool,
        .sources = fill_sources,
        .ask_catalogue = t->ask_catalogue,
        .learned = t->learned,
        .scope = fill_scope,
        .received = on_received,
        .arg = rt,
    };
    rt->fills = fill_engine_new(&fc);
    struct registry_config rc = {
        .name = rt->node->program,
        .store = rt->store,
        .fills = rt->fills,
        .pool = rt->pool,
        .reads = rt->reads,
        .fetch_loop = rt->fetch,
        .stale_for_s = rt->node->stale_for_ms / 1000,
        .negative_ms = t->negative_ms,
        .hide_deleted = rt->hide_deleted,
        .rules = t->rules,
        .names_unsettled = t->names_unsettled,
        .scope = t->scope,
        .fresh_for_ms = t->fresh_for_ms,
        .sources = t->sources,
        .learned_tag = t->learned_tag,
        .arg = rt,
    };
    rt->registry = registry_new(&rc);
}

static void set_limits(const struct node_run *n, struct http_limits *l) {
    const struct node_config *node = n->rt.node;
    http_limits_default(l);
    l->head_bytes = (size_t)node->head_bytes;
    l->head_ms = node->head_ms;
    l->idle_ms = node->idle_ms;
    l->send_stall_ms = node->send_stall_ms;
    l->body_rate_bytes_per_s = node->body_rate_bytes_per_s;
    l->conns_per_addr = node->conns_per_addr;
    l->conns = node->conns < n->max_connections ? node->conns : n->max_connections;
}

static int add_server(struct node_run *n, const char *address, enum http_tls_mode mode,
                      void (*handler)(struct http_req *, void *), void *arg, bool counted, struct error *err) {
    struct http_server_config cfg = {
        .address = address,
        .loops = n->serving,
        .n_loops = n->rt.n_serving,
        .tls_mode = mode,
        .tls = mode == HTTP_TLS_EITHER ? n->node_tls : n->tls,
        .reads = n->rt.reads,
        .handler = handler,
        .access = counted ? on_access : NULL,
        .error_body = registry_error_body,
        .arg = arg,
    };
    set_limits(n, &cfg.limits);
    int r = http_server_new(&n->servers[n->n_servers], &cfg, err);
    if (r == 0) n->n_servers++;
    return r;
}

static void make_api(struct node_run *n) {
    struct api_hooks hooks = {
        .parts = {.node = n->rt.node,
                  .health = n->health,
                  .store = n->rt.store,
                  .fills = n->rt.fills,
                  .registry = n->rt.registry,
                  .registry_server = n->servers[0],
                  .loops = n->loops,
                  .loop_names = n->loop_names,
                  .n_loops = n->rt.n_serving + 1,
                  .started_at = clock_wall_s()},
        .pool = n->rt.pool,
        .status = n->tier->status,
        .doctor = n->tier->doctor,
        .v2 = on_v2,
        .load = n->tier->load,
        .arg = &n->rt,
    };
    n->api = api_new(&hooks);
}

static int make_tls(struct node_run *n, struct error *err) {
    const struct node_config *node = n->rt.node;
    if (!node->registry_cert_file) return 0;
    return tls_server_new(&n->tls, node->registry_cert_file, node->registry_key_file, err);
}

/* The fleet port speaks TLS as well as plain HTTP while it is bound to loopback: an edge may ask for https from the
 * first day. */
static int make_node_tls(struct node_run *n, struct error *err) {
    char dir[4096], cert[4200], key[4200];
    snprintf(dir, sizeof(dir), "%s/identity", n->rt.node->data);
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    int r = dir_make_all(dir, 0700, err);
    if (r == 0) r = tls_make_self_signed(cert, key, names, ARRAY_LEN(names), err);
    return r < 0 ? r : tls_server_new(&n->node_tls, cert, key, err);
}

static bool collect(const void *data, size_t len, void *arg) {
    return buf_add(arg, data, len) == 0;
}

/* Who has the address that this node should listen on? */
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

/* With the key whose address it is. */
static int not_listening(int r, const char *key, const char *more, struct error *err) {
    if (r == -EADDRINUSE)
        error_hint(err, "something already listens there: stop it, or choose another address with --set %s=HOST:PORT%s",
                   key, more);
    return error_wrap(err, "%s", key);
}

static int make_servers(struct node_run *n, struct error *err) {
    const struct node_config *node = n->rt.node;
    int r = make_tls(n, err);
    if (r < 0) return r;
    enum http_tls_mode mode = node->registry_cert_file ? HTTP_TLS_ON : HTTP_TLS_OFF;
    r = add_server(n, node->registry_listen, mode, on_registry_request, n, true, err);
    if (r == -EADDRINUSE && held_by_entrepot(node)) {
        error_hint(err,
                   "another Entrepot node listens there, maybe another user's: use that one, or stop it, or choose "
                   "another address with --set registry.listen=:PORT");
        return error_wrap(err, "registry.listen");
    }
    if (r < 0) return not_listening(r, "registry.listen", "", err);
    if (node->node_listen && n->tier->node_request) {
        r = make_node_tls(n, err);
        if (r == 0) r = add_server(n, node->node_listen, HTTP_TLS_EITHER, on_node_request, n, true, err);
        if (r < 0) return not_listening(r, "fleet.listen", ", and the same in the key central of its edges", err);
    }
    n->n_public = n->n_servers;
    make_api(n);
    r = add_server(n, node->admin_listen, HTTP_TLS_OFF, api_handle_admin, n->api, false, err);
    if (r < 0) return not_listening(r, "admin.listen", "", err);
    char path[CONTROL_PATH_MAX], address[CONTROL_PATH_MAX + 8];
    r = control_socket_path(node->data, path, err);
    if (r < 0) return r;
    snprintf(address, sizeof(address), "unix:%s", path);
    return add_server(n, address, HTTP_TLS_OFF, api_handle_control, n->api, false, err);
}

static void on_fetch_running(void *arg) {
    struct node_run *n = arg;
    n->tier->running(&n->rt);
}

static void start_serving(struct node_run *n) {
    n->serves = true;
    for (unsigned i = 0; i < n->rt.n_serving; i++)
        loop_start(n->rt.serving[i]);
}

static void on_ready(void *arg) {
    struct node_run *n = arg;
    if (n->serves) return; /* told to stop meanwhile */
    start_serving(n);
    health_set(n->health, "running", NULL);
    const struct node_config *node = n->rt.node;
    log_info("ready", KV_S("registry", node->registry_listen), KV_S("admin", node->admin_listen),
             KV_S("data", node->data));
    log_warn(
        "open_to_all",
        KV_S("note", "no access rules are configured: anyone who can reach this node may pull; nothing can be pushed"));
    daemon_ready(n->daemon, "serving");
}

void runtime_ready(struct runtime *rt) {
    loop_call(rt->control, on_ready, rt);
}

/* What became of the certificate, in words. */
static const char *reload_certificate(struct node_run *n) {
    struct error err = {0};
    if (!n->tls) return "none configured";
    int r = tls_server_reload(n->tls, &err);
    if (r > 0) log_info("certificate_reloaded", KV_I("not_after", tls_server_not_after(n->tls)));
    if (r < 0) log_error("certificate_not_reloaded", KV_S("why", err.msg));
    return r > 0 ? "read anew" : r == 0 ? "unchanged" : "refused, the old one stays";
}

static void on_certificates(void *arg) {
    struct node_run *n = arg;
    reload_certificate(n);
    timer_set(&n->certificates, CERTIFICATE_CHECK_MS);
}

/* False when there is no file, or it cannot be read. */
static bool config_digest(const struct node_config *node, struct digest *d) {
    char *text = NULL;
    size_t len = 0;
    if (!node->config_file || file_read_all(node->config_file, CONFIG_TEXT_MAX, &text, &len, NULL) < 0) return false;
    digest_of(d, DIGEST_SHA256, text, len);
    free(text);
    return true;
}

/* SIGHUP: says what was read again, and what was not though it has changed. */
static void on_reload(void *arg) {
    struct node_run *n = arg;
    const char *certificate = reload_certificate(n), *config = "unchanged";
    struct digest now;
    bool changed = false;
    if (!n->rt.node->config_file) {
        config = "no file";
    } else if (!config_digest(n->rt.node, &now)) {
        config = "cannot be read now; the node goes on with what it read at its start";
        changed = true;
    } else if (!digest_eq(&now, &n->config_was)) {
        config = "has changed, and is read at a start only: restart to take it over";
        changed = true;
    }
    if (changed)
        log_warn("reloaded", KV_S("certificate", certificate), KV_S("config", config),
                 KV_S("file", n->rt.node->config_file));
    else
        log_info("reloaded", KV_S("certificate", certificate), KV_S("config", config));
}

/* --- stopping --- */

static void end_loop(void *arg) {
    struct node_run *n = arg;
    loop_stop(n->rt.control);
}

/* Fetch loop. */
static void on_fills_stopped(void *arg) {
    struct node_run *n = arg;
    loop_call(n->rt.control, end_loop, n);
}

static void drain(struct node_run *n, unsigned from, unsigned to);

static void one_drained(void *arg) {
    struct node_run *n = arg;
    if (--n->n_draining > 0) return;
    if (n->n_public < n->n_servers) {
        unsigned from = n->n_public;
        n->n_public = n->n_servers;
        drain(n, from, n->n_servers);
    } else {
        fill_engine_stop(n->rt.fills, on_fills_stopped, n);
    }
}

/* A serving loop: one server has no connections left. */
static void on_drained(void *arg) {
    struct node_run *n = arg;
    loop_call(n->rt.control, one_drained, n);
}

static void drain(struct node_run *n, unsigned from, unsigned to) {
    int64_t left = n->drained_by_ms - clock_mono_ms();
    n->n_draining = to - from;
    for (unsigned i = from; i < to; i++)
        http_server_drain(n->servers[i], left > 0 ? left : 0, on_drained, n);
}

static void on_stop(void *arg) {
    struct node_run *n = arg;
    log_info("stopping");
    if (!n->serves) start_serving(n); /* connections end where they were taken */
    health_set(n->health, "running", "the node is stopping: it finishes what is under way");
    api_stop(n->api);
    store_stop_bulk(n->rt.store);
    n->drained_by_ms = clock_mono_ms() + n->rt.node->drain_ms;
    drain(n, 0, n->n_public);
}

/* No loop runs any more: what work pool and loops still have for each other is run to its end here. */
static void settle(struct node_run *n) {
    bool more = true;
    while (more) {
        workpool_wait_idle(n->rt.pool);
        workpool_wait_idle(n->rt.reads);
        more = false;
        for (unsigned i = 0; i <= n->rt.n_serving; i++)
            more = loop_run_pending(n->loops[i]) || more;
    }
}

static void free_all(struct node_run *n) {
    struct runtime *rt = &n->rt;
    for (unsigned i = 0; i < n->n_servers; i++)
        http_server_free(n->servers[i]);
    settle(n);
    if (rt->registry) registry_cancel(rt->registry);
    settle(n);
    registry_free(rt->registry);
    fill_engine_free(rt->fills);
    if (rt->tier) n->tier->stop(rt);
    http_client_free(rt->client);
    if (rt->store) store_close(rt->store);
    for (size_t i = 0; i < rt->n_addresses; i++)
        free(rt->addresses[i]);
    workpool_free(rt->pool);
    workpool_free(rt->reads);
    if (n->api) api_free(n->api);
    for (unsigned i = 0; i <= rt->n_serving; i++)
        loop_free(n->loops[i]);
    timer_fini(&n->certificates);
    if (n->daemon) daemon_free(n->daemon);
    tls_server_free(n->tls);
    tls_server_free(n->node_tls);
    health_free(n->health);
    loop_free(rt->control);
}

static int bring_up(struct node_run *n, struct error *err) {
    const struct daemon_events events = {.stop = on_stop, .reload = on_reload};
    int r = open_store(n, err);
    if (r < 0) return r;
    r = n->tier->start(&n->rt, err);
    if (r < 0) return r;
    if (!n->tier->load) store_recall_done(n->rt.store); /* nothing is hosted here */
    make_parts(n);
    /* Before it listens: whoever sees it do so may tell it to stop. */
    r = daemon_new(&n->daemon, n->rt.control, &events, n, err);
    return r < 0 ? r : make_servers(n, err);
}

static void run(struct node_run *n) {
    struct runtime *rt = &n->rt;
    loop_start(rt->fetch);
    loop_call(rt->fetch, on_fetch_running, n);
    timer_set(&n->certificates, CERTIFICATE_CHECK_MS);
    loop_run(rt->control);
    for (unsigned i = 0; i < rt->n_serving; i++) {
        loop_stop(rt->serving[i]);
        loop_join(rt->serving[i]);
    }
    loop_stop(rt->fetch);
    loop_join(rt->fetch);
    log_info("stopped");
}

/* The node goes on: what it holds can be served. */
static void warn_of_file(const struct error *err, void *arg) {
    (void)arg;
    log_warn("file_unusable", KV_S("why", err->msg));
}

int runtime_serve(const struct command_context *ctx, const struct runtime_tier *tier) {
    const struct node_config *node = ctx->node;
    if (ctx->argc > 0) {
        fprintf(stderr, "%s: serve takes no argument: %s\n", node->program, ctx->argv[0]);
        return EXIT_USAGE;
    }
    struct node_run n = {.rt = {.node = node}, .tier = tier};
    struct error err = {0};
    unsigned long descriptors = daemon_prepare();
    n.max_connections =
        descriptors > 2 * DESCRIPTORS_KEPT ? (unsigned)(descriptors - DESCRIPTORS_KEPT) : (unsigned)(descriptors / 2);
    log_init(2, node->log_format, node->log_level, node->program);
    config_warn_no_effect(node);
    config_check_files(node, warn_of_file, NULL);
    if (n.max_connections < node->conns) {
        log_warn("connections_limited", KV_I("to", n.max_connections),
                 KV_S("why", "the limit of open files (ulimit -n, LimitNOFILE) is low"));
    }
    if (!config_digest(node, &n.config_was)) n.config_was = (struct digest){0};
    n.health = health_new();
    health_set(n.health, "running", "the node is starting");
    n.rt.control = loop_new("control");
    timer_init(&n.certificates, n.rt.control, on_certificates, &n);
    make_loops(&n);
    n.rt.n_addresses = client_own_addresses(node, n.rt.addresses);
    int r = bring_up(&n, &err);
    if (r == 0)
        run(&n);
    else
        cli_print_error(node->program, &err);
    free_all(&n);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}
