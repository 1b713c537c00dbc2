/* One node put together and taken down. Thread: main, which becomes the control loop.
 *
 *   parts start, in order ─▶ ports are bound ─▶ fetch loop runs, parts run ─▶ nothing holds it ─▶ serving loops run
 *   SIGTERM ─▶ not ready ─▶ ports drain, those for people last ─▶ doctor's probes stop ─▶ fills stop (part files kept)
 *   ─▶ loops join ─▶
 *   parts stop, in the reverse order ─▶ all is freed */
#include "common/node/runtime.h"

#include "common/admin/engine_files.h"
#include "common/cli/cli.h"
#include "common/config/config.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/node/daemon.h"
#include "common/node/ports.h"
#include "common/node/probe.h"
#include "common/node/reload.h"

#include <stdio.h>
#include <string.h>

#define LOOPS_MAX 64
#define DESCRIPTORS_KEPT 512

struct node_run {
    struct node node;
    const struct runtime_tier *tier;
    const struct command_context *ctx;
    struct daemon *daemon;
    struct health *health;
    struct ports *ports;
    struct reload *reload;
    bool serves;              /* the serving loops run */
    unsigned max_connections; /* as many as there are descriptors for, some kept for files and sources */
    char *addresses[OWN_ADDRESSES_MAX];
    struct loop *serving[LOOPS_MAX];
    const char *loop_names[LOOPS_MAX + 2];
    struct loop *loops[LOOPS_MAX + 2]; /* the serving loops, then the fetch loop */
};

/* --- starting --- */

void node_condition(struct node *n, const char *name, const char *reason) {
    health_set(container_of(n, struct node_run, node)->health, name, reason);
}

static void make_loops(struct node_run *n) {
    struct node *node = &n->node;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned serving = node->config->serving_loops ? node->config->serving_loops : cores > 0 ? (unsigned)cores : 1;
    node->n_serving = serving < LOOPS_MAX ? serving : LOOPS_MAX;
    node->serving = n->serving;
    for (unsigned i = 0; i < node->n_serving; i++) {
        static char names[LOOPS_MAX][16];
        snprintf(names[i], sizeof(names[i]), "serve-%u", i % LOOPS_MAX);
        n->serving[i] = n->loops[i] = loop_new(names[i]);
        n->loop_names[i] = names[i];
    }
    node->fetch = n->loops[node->n_serving] = loop_new("fetch");
    n->loop_names[node->n_serving] = "fetch";
    node->pool = workpool_new("work", 4);
    node->reads = workpool_new("read", 4);
    node->lists = workpool_new("list", NODE_LIST_THREADS);
    node->client = http_client_new(node->fetch);
    node->probes = probes_new(node->fetch, node->client);
}

/* Central's folder and an edge's hold other things under the same names. */
static int check_kind(const struct node_run *n, struct error *err) {
    const struct node_config *node = n->node.config;
    const char *other = node->kind == NODE_EDGE ? "central" : "edge";
    char path[4200];
    snprintf(path, sizeof(path), "%.4000s/%s", node->data, n->tier->not_with);
    if (access(path, F_OK) < 0) return 0;
    error_set(err, ERR_INVALID, "%s is the data folder of an entrepot-%s: it holds %s", node->data, other,
              n->tier->not_with);
    error_hint(err, "give %s a folder of its own: the key data, or --set data=FOLDER", node->program);
    return ERR_INVALID;
}

/* Of a node that was killed. They may hold keys. */
static void remove_unfinished(const char *data) {
    char identity[4200];
    snprintf(identity, sizeof(identity), "%.4000s/identity", data);
    dir_remove_unfinished(data);
    dir_remove_unfinished(identity);
}

static void start_serving(struct node_run *n) {
    n->serves = true;
    for (unsigned i = 0; i < n->node.n_serving; i++)
        loop_start(n->node.serving[i]);
}

static void on_ready(void *arg) {
    struct node_run *n = arg;
    if (n->serves) return; /* told to stop meanwhile */
    start_serving(n);
    health_set(n->health, "running", NULL);
    const struct node_config *node = n->node.config;
    log_info("ready", KV_S("registry", node->registry_listen), KV_S("admin", node->admin_listen),
             KV_S("data", node->data));
    log_warn(
        "open_to_all",
        KV_S("note", "no access rules are configured: anyone who can reach this node may pull; nothing can be pushed"));
    daemon_ready(n->daemon, "serving");
}

void node_hold(struct node *node) {
    atomic_fetch_add(&node->holds, 1);
}

void node_release(struct node *node) {
    struct node_run *n = container_of(node, struct node_run, node);
    if (atomic_fetch_sub(&node->holds, 1) == 1) loop_call(node->control, on_ready, n);
}

static void on_fetch_running(void *arg) {
    struct node_run *n = arg;
    parts_running(&n->node);
    node_release(&n->node);
}

/* --- stopping --- */

static void end_loop(void *arg) {
    struct node_run *n = arg;
    loop_stop(n->node.control);
}

/* Fetch loop. */
static void on_fills_stopped(void *arg) {
    struct node_run *n = arg;
    loop_call(n->node.control, end_loop, n);
}

/* Fetch loop. */
static void on_probes_stopped(void *arg) {
    struct node_run *n = arg;
    fill_engine_stop(n->node.fills, on_fills_stopped, n);
}

/* Work that waits for the fetch loop ends before the loop does. */
static void on_drained(void *arg) {
    struct node_run *n = arg;
    probes_stop(n->node.probes, on_probes_stopped, n);
}

static void on_stop(void *arg) {
    struct node_run *n = arg;
    log_info("stopping");
    if (!n->serves) start_serving(n); /* so that connections that were accepted can end */
    health_set(n->health, "running", "the node is stopping: running requests are finished");
    parts_ending(&n->node);
    ports_drain(n->ports, n->node.config->drain_ms, on_drained, n);
}

/* Logs what is wrong with a configuration that was read again. */
static void say_wrong(const struct error *err, void *arg) {
    (void)arg;
    log_error("config_refused", KV_S("why", err->msg), KV_S("try", err->hint));
}

/* The configuration file has changed: see reload_on_change. */
static bool take_config(char *words, size_t cap, void *arg) {
    struct node_run *n = arg;
    const struct cli_program *program = n->ctx->program;
    struct config_source source = *n->ctx->source;
    struct node_config *fresh = NULL;
    struct error err = {0};
    source.each = say_wrong;
    if (program->load(&source, &fresh, &err) < 0) return false;
    parts_reload(&n->node, fresh, words, cap);
    program->unload(fresh);
    return true;
}

static void on_reload(void *arg) {
    reload_now(((struct node_run *)arg)->reload);
}

void node_settle(struct node *node) {
    struct node_run *n = container_of(node, struct node_run, node);
    bool more = true;
    while (more) {
        workpool_wait_idle(node->pool);
        workpool_wait_idle(node->reads);
        workpool_wait_idle(node->lists);
        more = loop_run_pending(node->control); /* jobs come back to it, too */
        for (unsigned i = 0; i <= node->n_serving; i++)
            more = loop_run_pending(n->loops[i]) || more;
    }
}

static void free_all(struct node_run *n) {
    struct node *node = &n->node;
    if (n->ports) ports_free_servers(n->ports);
    node_settle(node);
    metrics_uncollect(parts_metrics, node);
    parts_stop(node);
    probes_free(node->probes);
    http_client_free(node->client);
    for (size_t i = 0; i < node->n_addresses; i++)
        free(n->addresses[i]);
    workpool_free(node->pool);
    workpool_free(node->reads);
    workpool_free(node->lists);
    ports_free(n->ports);
    for (unsigned i = 0; i <= node->n_serving; i++)
        loop_free(n->loops[i]);
    if (n->daemon) daemon_free(n->daemon);
    reload_free(n->reload);
    health_free(n->health);
    loop_free(node->control);
}

/* --- life --- */

static int bring_up(struct node_run *n, struct error *err) {
    const struct daemon_events events = {.stop = on_stop, .reload = on_reload};
    int r = check_kind(n, err);
    if (r == 0) remove_unfinished(n->node.config->data);
    if (r == 0 && n->tier->prepare) r = n->tier->prepare(n->node.config->data, err);
    if (r == 0) r = parts_start(&n->node, n->tier->parts, err);
    if (r < 0) return r;
    metrics_collect(parts_metrics, &n->node);
    /* Before the ports listen: from then on a service manager may send a signal. */
    r = daemon_new(&n->daemon, n->node.control, &events, n, err);
    if (r < 0) return r;
    const struct ports_config pc = {
        .health = n->health,
        .loops = n->loops,
        .loop_names = n->loop_names,
        .n_loops = n->node.n_serving + 1,
        .max_connections = n->max_connections,
    };
    return ports_open(&n->ports, &n->node, &pc, err);
}

static void run_until_stopped(struct node_run *n) {
    struct node *node = &n->node;
    loop_start(node->fetch);
    loop_call(node->fetch, on_fetch_running, n);
    reload_watch(n->reload, ports_tls(n->ports));
    loop_run(node->control);
    for (unsigned i = 0; i < node->n_serving; i++) {
        loop_stop(node->serving[i]);
        loop_join(node->serving[i]);
    }
    loop_stop(node->fetch);
    loop_join(node->fetch);
    log_info("stopped");
}

/* A warning only if the operator has asked for more: the default is more than many machines' limit of open files. */
static void say_connections(const struct node_run *n) {
    struct http_limits usual;
    http_limits_default(&usual);
    unsigned wanted = n->node.config->conns;
    if (n->max_connections >= wanted) return;
    LOG_AT(wanted == usual.conns ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "connections_limited",
           KV_I("to", n->max_connections), KV_S("why", "the limit of open files (ulimit -n, LimitNOFILE) is low"));
}

/* The node goes on: what it holds can be served. */
static void warn_of_file(const struct error *err, void *arg) {
    (void)arg;
    log_warn("file_unusable", KV_S("why", err->msg));
}

int runtime_serve(const struct command_context *ctx, const struct runtime_tier *tier) {
    const struct node_config *node = ctx->node;
    struct node_run n = {.node = {.config = node, .guard = tier->guard, .holds = 1}, .tier = tier, .ctx = ctx};
    struct error err = {0};
    unsigned long descriptors = daemon_prepare();
    n.max_connections =
        descriptors > 2 * DESCRIPTORS_KEPT ? (unsigned)(descriptors - DESCRIPTORS_KEPT) : (unsigned)(descriptors / 2);
    log_init(2, node->log_format, node->log_level, node->program);
    config_warn_no_effect(node);
    config_check_files(node, warn_of_file, NULL);
    say_connections(&n);
    for (enum budget b = 0; b < BUDGET_COUNT; b++)
        budget_limit(b, node->budgets[b]);
    n.health = health_new();
    health_set(n.health, "running", "the node is starting");
    n.node.control = loop_new("control");
    n.reload = reload_new(node, n.node.control);
    reload_on_change(n.reload, take_config, &n);
    make_loops(&n);
    n.node.n_addresses = client_own_addresses(node, n.addresses);
    n.node.addresses = n.addresses;
    int r = bring_up(&n, &err);
    if (r == 0)
        run_until_stopped(&n);
    else
        cli_print_error(node->program, &err);
    free_all(&n);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}
