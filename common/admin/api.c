/* Routes requests of the admin port and the control socket; runs what may block in the work pool. Thread: serving
 * loops, job bodies in the work pool. */
#include "common/admin/api_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/admin/store_alone.h"
#include "common/config/units.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum { JOBS_MAX = 32, PARAM_MAX = 4096 };

int control_socket_path(const char *data, char out[CONTROL_PATH_MAX], struct error *err) {
    int n = snprintf(out, CONTROL_PATH_MAX, "%s/control.sock", data);
    if (n > 0 && n < CONTROL_PATH_MAX) return 0;
    error_set(err, ERR_TOO_BIG, "the path of the data folder is too long for a UNIX socket in it: %.200s", data);
    error_hint(err, "choose a data folder whose path has at most %d bytes (key data)", CONTROL_PATH_MAX - 14);
    return ERR_TOO_BIG;
}

/* --- answers --- */
json_t *api_error_json(const char *message, const char *hint) {
    json_t *m = json_string(message);
    if (!m) m = json_string("an error whose text is not valid UTF-8");
    json_t *h = json_string(hint ? hint : "");
    return json_pack("{s:{s:o,s:o}}", "error", "message", m, "hint", h ? h : json_string(""));
}

void api_reply_json(struct http_req *req, int status, json_t *doc) {
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text) out_of_memory();
    http_reply_ref(req, status, "application/json", text, strlen(text), free, text);
}

void api_reply_error(struct http_req *req, int status, const char *message, const char *hint) {
    api_reply_json(req, status, api_error_json(message, hint));
}

/* --- the query --- */
static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decodes the value up to '&'. False: malformed, too long, or holding a NUL. */
static bool param_decode(const char *v, char out[PARAM_MAX]) {
    size_t n = 0;
    for (; *v && *v != '&'; v++) {
        int c = (unsigned char)*v;
        if (c == '%') {
            int hi = hex(v[1]), lo = hi < 0 ? -1 : hex(v[2]);
            if (lo < 0) return false;
            c = hi * 16 + lo;
            v += 2;
        }
        if (c == 0 || n == PARAM_MAX - 1) return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

/* 1: found, 0: not there, -1: malformed. */
static int param(const char *target, const char *name, char out[PARAM_MAX]) {
    const char *q = strchr(target, '?');
    size_t len = strlen(name);
    while (q) {
        q++;
        if (strncmp(q, name, len) == 0 && q[len] == '=') return param_decode(q + len + 1, out) ? 1 : -1;
        q = strchr(q, '&');
    }
    return 0;
}

/* --- jobs: a request whose answer is made in the work pool --- */
struct job {
    struct work work;
    struct loop_task back;
    struct api *api;
    struct http_req *req; /* loop thread; NULL once closed */
    struct loop *loop;
    bool done; /* loop thread: the pool has finished with it */
    void (*run)(struct job *j);
    char *a, *b; /* parameters */
    int64_t number;
    int status;
    const char *type;
    struct buf out;
};

static void job_free(struct job *j) {
    atomic_fetch_sub(&j->api->jobs, 1);
    buf_fini(&j->out);
    free(j->a);
    free(j->b);
    free(j);
}

static void job_closed(struct http_req *req, bool cut) {
    (void)cut;
    struct job *j = http_req_user(req);
    j->req = NULL;
    if (j->done) job_free(j);
}

static void job_back(struct loop_task *task) {
    struct job *j = container_of(task, struct job, back);
    j->done = true;
    if (!j->req) {
        job_free(j);
        return;
    }
    size_t len;
    struct http_req *req = j->req;
    int status = j->status;
    const char *type = j->type;
    char *body = buf_steal(&j->out, &len);
    http_reply_ref(req, status, type, body ? body : "", len, free, body); /* j may be gone after it */
}

static void job_work(struct work *w) {
    struct job *j = container_of(w, struct job, work);
    j->run(j);
    loop_post(j->loop, &j->back);
}

static void job_json(struct job *j, int status, json_t *doc) {
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text || buf_add_str(&j->out, text) < 0) {
        buf_clear(&j->out);
        status = 500;
    }
    free(text);
    j->status = status;
}

static void job_error(struct job *j, const struct error *err) {
    int status = err->code == ERR_NOT_FOUND ? 404 : err->code == ERR_INVALID ? 400 : err->code == ERR_BUSY ? 409 : 500;
    job_json(j, status, api_error_json(err->msg[0] ? err->msg : error_name(err->code), err->hint));
}

static struct job *job_start(struct api *a, struct http_req *req, void (*run)(struct job *j), const char *pa,
                             const char *pb, int64_t number) {
    if (atomic_fetch_add(&a->jobs, 1) >= JOBS_MAX) {
        atomic_fetch_sub(&a->jobs, 1);
        api_reply_error(req, 503, "too many requests at once", "ask again in a moment");
        return NULL;
    }
    struct job *j = xcalloc(1, sizeof(*j));
    j->api = a;
    j->req = req;
    j->loop = http_req_loop(req);
    j->run = run;
    j->a = pa ? xstrdup(pa) : NULL;
    j->b = pb ? xstrdup(pb) : NULL;
    j->number = number;
    j->type = "application/json";
    j->status = 500;
    j->work.fn = job_work;
    j->back.fn = job_back;
    buf_init(&j->out, 0);
    http_req_set_user(req, j);
    http_req_on_close(req, job_closed);
    workpool_submit(a->hooks.pool, &j->work);
    return j;
}

/* --- what jobs do (work pool) --- */
static void run_metrics(struct job *j) {
    j->type = METRICS_CONTENT_TYPE;
    j->status = metrics_render(&j->out) < 0 ? 500 : 200;
}

static void run_status(struct job *j) {
    const struct api_hooks *h = &j->api->hooks;
    json_t *doc = node_status(&h->parts), *more = h->status ? h->status(h->arg) : NULL;
    if (more) json_object_update(doc, more);
    json_decref(more);
    job_json(j, 200, doc);
}

static void run_doctor(struct job *j) {
    const struct api_hooks *h = &j->api->hooks;
    json_t *doc = h->doctor ? h->doctor(h->arg) : NULL;
    job_json(j, 200, doc ? doc : json_object());
}

static void run_df(struct job *j) {
    job_json(j, 200, store_usage_json(j->api->hooks.parts.store));
}

static void run_ls(struct job *j) {
    const struct node_parts *p = &j->api->hooks.parts;
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
    struct store *s = j->api->hooks.parts.store;
    int64_t freed = store_prune(s, j->number);
    json_t *doc = json_pack("{s:I}", "freed", (json_int_t)freed);
    json_object_set_new(doc, "store", store_usage_json(s));
    job_json(j, 200, doc);
}

static void run_load(struct job *j) {
    const struct api_hooks *h = &j->api->hooks;
    struct error err = {0};
    json_t *result = NULL;
    int r = h->load(j->a, j->b, &result, &err, h->arg);
    if (r < 0) {
        json_decref(result);
        if (!err.code) err.code = r;
        job_error(j, &err);
        return;
    }
    job_json(j, 200, result ? result : json_pack("{s:s}", "loaded", j->b));
}

/* --- routes --- */
static void get_healthz(struct api *a, struct http_req *req) {
    (void)a;
    http_reply(req, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void get_readyz(struct api *a, struct http_req *req) {
    struct health *h = a->hooks.parts.health;
    json_t *doc = h ? health_json(h) : json_pack("{s:b,s:[]}", "ready", 1, "reasons");
    bool ready = json_is_true(json_object_get(doc, "ready"));
    api_reply_json(req, ready ? 200 : 503, doc);
}

static void get_metrics(struct api *a, struct http_req *req) {
    job_start(a, req, run_metrics, NULL, NULL, 0);
}

static void get_status(struct api *a, struct http_req *req) {
    job_start(a, req, run_status, NULL, NULL, 0);
}

static void get_doctor(struct api *a, struct http_req *req) {
    job_start(a, req, run_doctor, NULL, NULL, 0);
}

/* False, and answered, on a node (or in a test) without a store. */
static bool need_store(struct api *a, struct http_req *req) {
    if (a->hooks.parts.store) return true;
    api_reply_error(req, 503, "the store is not open", "");
    return false;
}

static void get_df(struct api *a, struct http_req *req) {
    if (need_store(a, req)) job_start(a, req, run_df, NULL, NULL, 0);
}

static void get_ls(struct api *a, struct http_req *req) {
    char repo[PARAM_MAX];
    int has = param(http_req_target(req), "repo", repo);
    if (has < 0) {
        api_reply_error(req, 400, "the parameter repo is malformed", "");
    } else if (need_store(a, req)) {
        job_start(a, req, run_ls, has && repo[0] ? repo : NULL, NULL, 0);
    }
}

static void post_prune(struct api *a, struct http_req *req) {
    char text[PARAM_MAX];
    struct error err = {0};
    int64_t target = 0;
    int has = param(http_req_target(req), "target", text);
    if (has != 1 || int_parse(text, 0, INT64_MAX, &target, &err) < 0) {
        api_reply_error(req, 400, has ? "target is not a number of bytes" : "target is missing",
                        "give ?target=BYTES, 0 for all that may go");
    } else if (need_store(a, req)) {
        job_start(a, req, run_prune, NULL, NULL, target);
    }
}

static void post_load(struct api *a, struct http_req *req) {
    char layout[PARAM_MAX], ref[PARAM_MAX];
    if (!a->hooks.load) {
        api_reply_error(req, 404, "this node does not host repositories", "load into central");
    } else if (param(http_req_target(req), "layout", layout) != 1 || layout[0] != '/' ||
               param(http_req_target(req), "ref", ref) != 1 || !ref[0]) {
        api_reply_error(req, 400, "layout (an absolute path) and ref (REPOSITORY:TAG) are needed", "");
    } else {
        job_start(a, req, run_load, layout, ref, 0);
    }
}

static void post_verify(struct api *a, struct http_req *req) {
    if (need_store(a, req)) api_verify(a, req);
}

struct route {
    const char *path;
    bool change; /* POST, else GET and HEAD */
    bool socket_only;
    void (*fn)(struct api *a, struct http_req *req);
};
static const struct route routes[] = {
    {"/healthz", false, false, get_healthz},  {"/readyz", false, false, get_readyz},
    {"/metrics", false, false, get_metrics},  {"/api/status", false, false, get_status},
    {"/api/ls", false, false, get_ls},        {"/api/df", false, false, get_df},
    {"/api/doctor", false, true, get_doctor}, {"/api/verify", true, true, post_verify},
    {"/api/prune", true, true, post_prune},   {"/api/load", true, true, post_load},
};

static void refuse_stopping(struct api *a, struct http_req *req) {
    char message[128];
    snprintf(message, sizeof(message), "%s is stopping (process %d)", a->hooks.parts.node->program, (int)getpid());
    api_reply_error(req, 503, message, "wait until it has ended, then start it again");
}

static void dispatch(struct api *a, struct http_req *req, bool socket) {
    const char *target = http_req_target(req);
    size_t len = strcspn(target, "?");
    enum http_method m = http_req_method(req);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const struct route *r = &routes[i];
        if (strlen(r->path) != len || memcmp(r->path, target, len) != 0) continue;
        if (r->socket_only && !socket) {
            api_reply_error(req, 403, "only through the control socket in the data folder",
                            "use the node's own commands on its machine");
        } else if (r->change ? m != HTTP_POST : m != HTTP_GET && m != HTTP_HEAD) {
            http_reply_header(req, "Allow", r->change ? "POST" : "GET, HEAD");
            api_reply_error(req, 405, "method not allowed here", "");
        } else if (r->change && atomic_load(&a->stopping)) {
            refuse_stopping(a, req);
        } else {
            r->fn(a, req);
        }
        return;
    }
    api_reply_error(req, 404, "there is nothing at this path",
                    "this is the admin port: /healthz /readyz /metrics /api/status /api/ls /api/df");
}

void api_handle_admin(struct http_req *req, void *arg) {
    dispatch(arg, req, false);
}

void api_handle_control(struct http_req *req, void *arg) {
    struct api *a = arg;
    const char *target = http_req_target(req);
    if (a->hooks.v2 && strncmp(target, "/v2", 3) == 0) {
        if (atomic_load(&a->stopping))
            refuse_stopping(a, req);
        else
            a->hooks.v2(req, a->hooks.arg);
        return;
    }
    dispatch(a, req, true);
}

struct api *api_new(const struct api_hooks *hooks) {
    struct api *a = xcalloc(1, sizeof(*a));
    a->hooks = *hooks;
    if (!a->hooks.parts.started_at) a->hooks.parts.started_at = clock_wall_s();
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
