/* Thread: as part.h says of each function. */
#include "central/warehouse/warehouse_part.h"

#include "central/catalog/catalogue_part.h"
#include "central/names/names_part.h"
#include "central/warehouse/load.h"
#include "central/warehouse/recall.h"
#include "common/access/query.h"
#include "common/admin/answer.h"
#include "common/admin/job.h"
#include "common/core/alloc.h"

struct warehouse {
    struct workpool *pool;
    struct load_target target;
    struct recall_report recalled;
};

static void run_load(struct job *j) {
    const struct warehouse *w = j->arg;
    struct error err = {0};
    json_t *result = NULL;
    int r = load_image(&w->target, j->a, j->b, &result, &err);
    if (r == 0) {
        job_json(j, 200, result);
        return;
    }
    json_decref(result);
    if (!err.code) err.code = r;
    job_error(j, &err);
}

static void post_load(struct http_req *req, void *arg) {
    struct warehouse *w = arg;
    char layout[QUERY_PARAM_MAX], ref[QUERY_PARAM_MAX];
    const char *target = http_req_target(req);
    if (query_param(target, "layout", layout) != 1 || layout[0] != '/' || query_param(target, "ref", ref) != 1 ||
        !ref[0]) {
        api_reply_error(req, 400, "layout (an absolute path) and ref (REPOSITORY:TAG) are needed", "");
        return;
    }
    job_start(&(struct job_order){.pool = w->pool, .run = run_load, .arg = w, .a = layout, .b = ref}, req);
}

/* POST /api/load?layout=PATH&ref=REPO:TAG: what was loaded, as load.h has it. */
static const struct route routes[] = {{"/api/load", METHODS_POST, PORT_CONTROL, post_load}, {0}};

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct warehouse *w = xcalloc(1, sizeof(*w));
    w->pool = n->pool;
    w->target = (struct load_target){.store = n->store, .catalog = catalogue_of(n), .rules = names_rules(n)};
    if (store_recall_due(n->store)) {
        hosted_recall(w->target.catalog, n->store, w->target.rules, &w->recalled);
        if (w->recalled.code == 0) store_recall_done(n->store);
    }
    *self = w;
    return 0;
}

static void doctor(json_t *into, void *self) {
    const struct warehouse *w = self;
    json_object_set_new(into, "hosted_incomplete", json_integer(w->recalled.incomplete));
    json_object_set_new(into, "hosted_unknown", json_boolean(w->recalled.blind));
}

const struct part part_warehouse = {
    .name = "warehouse", .start = start, .stop = free, .routes = routes, .doctor = doctor};
