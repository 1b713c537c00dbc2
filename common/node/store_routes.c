/* The store's routes on the admin port and the control socket. Thread: serving loops; run_… in the work pool.
 *
 *   GET  /api/ls[?repo=NAME] /api/df                                                   both
 *   POST /api/prune?target=BYTES                                                       socket
 *   POST /api/verify   (a line of JSON now and then, the last has "done" or "error")   socket */
#include "common/node/store_part.h"

#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"
#include "common/config/units.h"
#include "common/inventory/store_json.h"

static struct node *node_of(const struct job *j) {
    return ((const struct store_part *)j->arg)->node;
}

static void run_df(struct job *j) {
    job_json(j, 200, store_usage_json(node_of(j)->store));
}

static void run_ls(struct job *j) {
    const struct node *n = node_of(j);
    struct error err = {0};
    json_t *doc = NULL;
    char name[REPO_STR_MAX];
    bool named = j->a && n->registry && registry_canonical(n->registry, j->a, name) == 0;
    int r = store_list_json(n->store, named ? name : j->a, &doc, &err);
    if (r == 0) {
        job_json(j, 200, doc);
        return;
    }
    if (!err.code) err.code = r;
    job_error(j, &err);
}

static void run_prune(struct job *j) {
    struct store *s = node_of(j)->store;
    struct prune_report report;
    store_prune(s, j->number, &report);
    job_json(j, 200, prune_json(&report, s));
}

static void start(struct store_part *p, struct http_req *req, void (*run)(struct job *j), const char *text,
                  int64_t number) {
    job_start(&(struct job_order){.pool = p->node->pool, .run = run, .arg = p, .a = text, .number = number}, req);
}

static void get_df(struct http_req *req, void *arg) {
    start(arg, req, run_df, NULL, 0);
}

static void get_ls(struct http_req *req, void *arg) {
    char repo[QUERY_PARAM_MAX];
    int has = query_param(http_req_target(req), "repo", repo);
    if (has < 0) {
        api_reply_error(req, 400, "the parameter repo is malformed", "");
    } else {
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
    } else {
        start(arg, req, run_prune, NULL, target);
    }
}

#define BOTH (PORT_ADMIN | PORT_CONTROL)
const struct route store_routes[] = {
    {"/api/ls", METHODS_READ, BOTH, get_ls},
    {"/api/df", METHODS_READ, BOTH, get_df},
    {"/api/verify", METHODS_POST, PORT_CONTROL, store_verify_route},
    {"/api/prune", METHODS_POST, PORT_CONTROL, post_prune},
    {0},
};
