/* Routes requests of the admin port and the control socket; runs what may block in the work pool. Thread: serving
 * loops, job bodies in the work pool. */
#include "common/admin/api.h"

#include "common/oci/request.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

struct api {
    struct api_hooks hooks;
    atomic_bool stopping; /* no more changes, no more pulls */
};

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
    json_t *doc = node_status(&h->facts);
    if (h->status) h->status(doc, h->arg);
    job_json(j, 200, doc);
}

static void run_doctor(struct job *j) {
    const struct api_hooks *h = hooks_of(j);
    json_t *doc = json_object();
    if (h->doctor) h->doctor(doc, h->arg);
    job_json(j, 200, doc);
}

/* --- routes --- */

static void start(struct api *a, struct http_req *req, void (*run)(struct job *j)) {
    job_start(&(struct job_order){.pool = a->hooks.pool, .run = run, .arg = a}, req);
}

static void get_healthz(struct http_req *req, void *arg) {
    (void)arg;
    http_reply(req, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void get_readyz(struct http_req *req, void *arg) {
    const struct api_hooks *hooks = &((struct api *)arg)->hooks;
    struct health *h = hooks->facts.health;
    json_t *doc = h ? health_json(h) : json_pack("{s:b,s:[]}", "ready", 1, "reasons");
    bool ready = json_is_true(json_object_get(doc, "ready"));
    if (hooks->ready) hooks->ready(doc, hooks->arg);
    api_reply_json(req, ready ? 200 : 503, doc);
}

static void get_metrics(struct http_req *req, void *arg) {
    start(arg, req, run_metrics);
}

static void get_status(struct http_req *req, void *arg) {
    start(arg, req, run_status);
}

static void get_doctor(struct http_req *req, void *arg) {
    start(arg, req, run_doctor);
}

#define BOTH (PORT_ADMIN | PORT_CONTROL)
static const struct route routes[] = {
    {"/healthz", METHODS_READ, BOTH, get_healthz},           {"/readyz", METHODS_READ, BOTH, get_readyz},
    {"/metrics", METHODS_READ, BOTH, get_metrics},           {"/api/status", METHODS_READ, BOTH, get_status},
    {"/api/doctor", METHODS_READ, PORT_CONTROL, get_doctor}, {0},
};

static void refuse_stopping(struct api *a, struct http_req *req) {
    char message[128];
    snprintf(message, sizeof(message), "%s is stopping (process %d)", a->hooks.facts.node->program, (int)getpid());
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
    if (!a->hooks.facts.started_at) a->hooks.facts.started_at = clock_wall_s();
    routes_add(a->hooks.routes, routes, a);
    metrics_collect(node_collect, &a->hooks.facts);
    return a;
}

void api_stop(struct api *a) {
    atomic_store(&a->stopping, true);
}

void api_free(struct api *a) {
    if (!a) return;
    metrics_uncollect(node_collect, &a->hooks.facts);
    free(a);
}
