/* Starts the record, restores what is hosted, and answers `load`. Thread: as node_part.h and serve/keeper.h say of each
 * function. */
#include "central/warehouse/warehouse_part.h"

#include "central/catalog/catalogue_part.h"
#include "central/names/names_part.h"
#include "central/warehouse/load.h"
#include "central/warehouse/hosted_record.h"
#include "central/warehouse/state.h"
#include "central/warehouse/takeover.h"
#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"
#include "common/core/alloc.h"

struct warehouse {
    struct node *node;
    struct load_target target;
    struct hosted_state state;
    struct keeper keeper;
};

static void run_load(struct job *j) {
    struct warehouse *w = j->arg;
    struct error err = {0};
    json_t *result = NULL;
    int r = load_image(&w->target, j->a, j->passed, j->b, &result, &err);
    hosted_state_recount(&w->state);
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
    const struct job_order order = {
        .pool = w->node->pool, .run = run_load, .arg = w, .a = layout, .b = ref, .takes_passed = true};
    job_start(&order, req);
}

/* POST /api/load?layout=PATH&ref=REPO:TAG, with the folder's descriptor if the command could open it; the result is
 * that of load_image (load.h). */
static const struct route routes[] = {{"/api/load", METHODS_POST, PORT_CONTROL, post_load}, {0}};

static int restore(const char *repo, const struct digest *d, struct error *err, void *arg) {
    const struct warehouse *w = arg;
    return hosted_restore(w->target.record, w->target.store, repo, d, true, err);
}

static void held(const struct digest *d, bool is_held, void *arg) {
    hosted_state_changed(&((struct warehouse *)arg)->state, d, is_held);
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct warehouse *w = xcalloc(1, sizeof(*w));
    w->node = n;
    w->target = (struct load_target){
        .store = n->store, .record = hosted_of(n->store), .content = n->content, .rules = names_rules(n)};
    const struct takeover t = {w->target.record, n->store, catalogue_of(n), w->target.rules, n->config->data};
    hosted_take_over(&t);
    hosted_claim_flagged(&t);
    hosted_tell_store(w->target.record, n->content, n->store, w->target.rules);
    hosted_state_init(&w->state, w->target.record, n->store, n->pool);
    w->keeper = (struct keeper){.restore = restore, .arg = w};
    n->keeper = &w->keeper;
    const struct content_listener l = {.held = held, .arg = w};
    const struct content_record record = hosted_record(w->target.record);
    content_listen(n->content, &l);
    content_set_record(n->content, &record);
    *self = w;
    return 0;
}

static void stop(void *self) {
    struct warehouse *w = self;
    content_set_record(w->node->content, NULL);
    content_leave(w->node->content, w);
    hosted_state_fini(&w->state);
    free(w);
}

static void status(json_t *into, void *self) {
    json_object_set_new(into, "hosted", hosted_state_json(&((struct warehouse *)self)->state, false));
}

static void doctor(json_t *into, void *self) {
    json_object_set_new(into, "hosted", hosted_state_json(&((struct warehouse *)self)->state, true));
}

static void metrics(struct metric_page *page, void *self) {
    struct hosted_counts hosted;
    struct hosted_missing missing;
    hosted_state_get(&((struct warehouse *)self)->state, &hosted, &missing);
    metric_set(page, METRIC_HOSTED_BLOBS, (double)hosted.blobs);
    metric_set(page, METRIC_HOSTED_MISSING, (double)missing.n);
}

const struct node_part part_warehouse = {.name = "warehouse",
                                         .start = start,
                                         .stop = stop,
                                         .routes = routes,
                                         .status = status,
                                         .doctor = doctor,
                                         .metrics = metrics};
