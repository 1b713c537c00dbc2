/* Routes requests of the admin port and the control socket; runs what may block in the work pool. Thread: serving
 * loops, job bodies in the work pool. */
#include "common/admin/api_private.h"

#include "common/oci/request.h"
#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/admin/store_alone.h"
#include "common/config/units.h"
#include "common/store/report.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

int control_socket_path(const char *data, char out[CONTROL_PATH_MAX], struct error *err) {
    int n = snprintf(out, CONTROL_PATH_MAX, "%s/control.sock", data);
    if (n > 0 && n < CONTROL_PATH_MAX) return 0;
    error_set(err, ERR_TOO_BIG, "the path of the data folder is too long for a UNIX socket in it: %.200s", data);
    error_hint(err, "choose a data folder whose path has at most %d bytes (key data)", CONTROL_PATH_MAX - 14);
    return ERR_TOO_BIG;
}

/* --- what jobs do (work pool) --- */
static const struct api_hooks *hooks_of(const struct job *j) {
    return &((const struct api *)j->arg)->hooks;
}

static void run_metrics(struct job *j) {
    j->type = METRICS_CONTENT_TYPE;
    j->status = metrics_render(&j->out) < 0 ? 500 : 200;
}

static void run_status(struct job *j) {
    const struct api_hooks *h = hooks_of(j);
    json_t *doc = node_status(&h->parts);
    if (h->status) h->status(doc, h->arg);
    job_json(j, 200, doc);
}

static void run_doctor(struct job *j) {
    const struct api_hooks *h = hooks_of(j);
    json_t *doc = json_object();
    if (h->doctor) h->doctor(doc, h->arg);
    job_json(j, 200, doc);
}

static void run_df(struct job *j) {
    job_json(j, 200, store_usage_json(hooks_of(j)->parts.store));
}

static void run_ls(struct job *j) {
    const struct node_parts *p = &hooks_of(j)->parts;
    struct error err = {0};
    json_t *doc = NULL;
    char name[REPO_STR_MAX];
    bool named = j->a && p->registry && registry_canonical(p->registry, j->a, name) == 0;
    int r = store_list_json(p->store, named ? name : j->a, &doc, &err);
    if (r == 0) {
        job_json(j, 200, doc);
        return;
    }
    if (!err.code) err.code = r;
    job_error(j, &err);
}

static void run_prune(struct job *j) {
    struct store *s = hooks_of(j)->parts.store;
    struct prune_report report;
    store_prune(s, j->number, &report);
    job_json(j, 200, prune_json(&report, s));
}

/* --- routes --- */
static void start(struct api *a, struct http_req *req, void (*run)(struct job *j), const char *text, int64_t number) {
    job_start(&(struct job_order){.pool = a->hooks.pool, .run = run, .arg = a, .a = text, .number = number}, req);
}

static void get_healthz(struct http_req *req, void *arg) {
    (void)arg;
    http_reply(req, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

/* A node with damaged blobs is still ready, because damaged blobs are no longer served. */
static void note_rot(const struct store *s, json_t *doc) {
    struct store_usage u;
    if (!s) return;
    store_usage(s, &u);
    json_object_set_new(doc, "rotten", json_integer(u.rotten));
    json_object_set_new(doc, "quarantined", json_integer(u.quarantined));
}

static void get_readyz(struct http_req *req, void *arg) {
    struct health *h = ((struct api *)arg)->hooks.parts.health;
    json_t *doc = h ? health_json(h) : json_pack("{s:b,s:[]}", "ready", 1, "reasons");
    bool ready = json_is_true(json_object_get(doc, "ready"));
    note_rot(((struct api *)arg)->hooks.parts.store, doc);
    api_reply_json(req, ready ? 200 : 503, doc);
}

static void get_metrics(struct http_req *req, void *arg) {
    start(arg, req, run_metrics, NULL, 0);
}

static void get_status(struct http_req *req, void *arg) {
    start(arg, req, run_status, NULL, 0);
}

static void get_doctor(struct http_req *req, void *arg) {
    start(arg, req, run_doctor, NULL, 0);
}

/* False on a node (or in a test) without a store; the request is then answered. */
static bool need_store(struct api *a, struct http_req *req) {
    if (a->hooks.parts.store) return true;
    api_reply_error(req, 503, "the store is not open", "");
    return false;
}

static void get_df(struct http_req *req, void *arg) {
    if (need_store(arg, req)) start(arg, req, run_df, NULL, 0);
}

static void get_ls(struct http_req *req, void *arg) {
    char repo[QUERY_PARAM_MAX];
    int has = query_param(http_req_target(req), "repo", repo);
    if (has < 0) {
        api_reply_error(req, 400, "the parameter repo is malformed", "");
    } else if (need_store(arg, req)) {
        start(arg, req, run_ls, has && repo[0] ? repo : NULL, 0);
    }
}

static void post_prune(struct http_req *req, void *arg) {
    char text[QUERY_PARAM_MAX];
    struct error err = {0};
    int64_t target = 0;
    int has = query_param(http_req_target(req), "target", text);
    if (has != 1 || int_parse(text, 0, INT64_MAX, &target, &err) < 0) {
        api_reply_error(req, 400, has ? "target is not a number of bytes" : "target is missing",
                        "give ?target=BYTES, 0 for all that may go");
    } else if (need_store(arg, req)) {
        start(arg, req, run_prune, NULL, target);
    }
}

static void post_verify(struct http_req *req, void *arg) {
    if (need_store(arg, req)) api_verify(arg, req);
}

#define BOTH (PORT_ADMIN | PORT_CONTROL)
static const struct route routes[] = {
    {"/healthz", METHODS_READ, BOTH, get_healthz},
    {"/readyz", METHODS_READ, BOTH, get_readyz},
    {"/metrics", METHODS_READ, BOTH, get_metrics},
    {"/api/status", METHODS_READ, BOTH, get_status},
    {"/api/ls", METHODS_READ, BOTH, get_ls},
    {"/api/df", METHODS_READ, BOTH, get_df},
    {"/api/doctor", METHODS_READ, PORT_CONTROL, get_doctor},
    {"/api/verify", METHODS_POST, PORT_CONTROL, post_verify},
    {"/api/prune", METHODS_POST, PORT_CONTROL, post_prune},
    {0},
};

static void refuse_stopping(struct api *a, struct http_req *req) {
    char message[128];
    snprintf(message, sizeof(message), "%s is stopping (process %d)", a->hooks.parts.node->program, (int)getpid());
    api_reply_error(req, 503, message, "wait until it has ended, then start it again");
}

static void dispatch(struct api *a, struct http_req *req, unsigned port) {
    struct route_hit hit;
    char allow[METHODS_TEXT_MAX];
    enum route_verdict v = routes_find(a->hooks.routes, port, http_req_target(req), http_req_method(req), &hit);
    if (v == ROUTE_OTHER_PORT && !(hit.ports & PORT_CONTROL)) v = ROUTE_NO_PATH;
    switch (v) {
    case ROUTE_FOUND:
        if (!(hit.route->methods & METHODS_READ) && atomic_load(&a->stopping))
            refuse_stopping(a, req);
        else
            hit.route->handler(req, hit.arg);
        return;
    case ROUTE_OTHER_PORT:
        api_reply_error(req, 403, "only through the control socket in the data folder",
                        "use the node's own commands on its machine");
        return;
    case ROUTE_OTHER_METHOD:
        http_reply_header(req, "Allow", methods_text(hit.allowed, allow));
        api_reply_error(req, 405, "method not allowed here", "");
        return;
    case ROUTE_NO_PATH:
        api_reply_error(req, 404, "there is nothing at this path",
                        "this is the admin port: /healthz /readyz /metrics /api/status /api/ls /api/df");
        return;
    }
}

void api_handle_admin(struct http_req *req, void *arg) {
    dispatch(arg, req, PORT_ADMIN);
}

void api_handle_control(struct http_req *req, void *arg) {
    struct api *a = arg;
    const char *target = http_req_target(req);
    if (a->hooks.v2 && oci_is_api(target)) {
        if (atomic_load(&a->stopping))
            refuse_stopping(a, req);
        else
            a->hooks.v2(req, a->hooks.arg);
        return;
    }
    dispatch(a, req, PORT_CONTROL);
}

struct api *api_new(const struct api_hooks *hooks) {
    struct api *a = xcalloc(1, sizeof(*a));
    a->hooks = *hooks;
    if (!a->hooks.parts.started_at) a->hooks.parts.started_at = clock_wall_s();
    routes_add(a->hooks.routes, routes, a);
    metrics_collect(node_collect, &a->hooks.parts);
    return a;
}

void api_stop(struct api *a) {
    atomic_store(&a->stopping, true);
}

void api_free(struct api *a) {
    if (!a) return;
    metrics_uncollect(node_collect, &a->hooks.parts);
    free(a);
}
