/* Downloads as a part of a node: sources are the supply's, knowledge comes from the ledger.
 * Thread: as node_part.h says of each function; what fills call, on the fetch loop. */
#include "common/node/node_part.h"

static unsigned sources(const struct fill_spec *spec, struct source *out[SOURCES_MAX], void *arg) {
    const struct supply *s = ((struct node *)arg)->supply;
    return s->sources(&spec->repo, out, s->arg);
}

static const char *scope(const struct fill_spec *spec, char out[REPO_STR_MAX], void *arg) {
    const struct policy *p = ((struct node *)arg)->policy;
    return p->scope(&spec->repo, out, p->arg);
}

static void ask_catalogue(struct fill *f, const struct fill_spec *spec, void *arg) {
    const struct ledger *l = ((struct node *)arg)->ledger;
    l->ask_catalogue(f, spec, l->arg);
}

static void kept_manifest(const struct digest *d, void *arg) {
    const struct node *n = arg;
    if (n->registry) registry_manifest_kept(n->registry, d);
}

static void received(const char *source, int64_t bytes, void *arg) {
    metric_label_add(FAMILY_FETCHED_BYTES, source, bytes);
    atomic_fetch_add_explicit(&((struct node *)arg)->fetched_bytes, bytes, memory_order_relaxed);
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct fill_engine_config fc = {
        .loops = &n->fetch,
        .n_loops = 1,
        .store = n->store,
        .pool = n->pool,
        .asker = n->asker,
        .sources = sources,
        .ask_catalogue = n->ledger ? ask_catalogue : NULL,
        .content = n->content,
        .scope = scope,
        .kept_manifest = kept_manifest,
        .received = received,
        .arg = n,
    };
    n->fills = fill_engine_new(&fc);
    *self = n;
    return 0;
}

static void stop(void *self) {
    struct node *n = self;
    fill_engine_free(n->fills);
    n->fills = NULL;
}

static void status(json_t *into, void *self) {
    struct fill_stats s;
    fill_engine_stats(((const struct node *)self)->fills, &s);
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {
        {"running", s.running},
        {"started", s.started},
        {"joined", s.joined},
        {"completed", s.completed},
        {"failed", s.failed},
        {"mismatches", s.mismatches},
        {"resumed_bytes", s.resumed_bytes},
        {"passed_through", s.passed_through},
        {"left_behind", s.left_behind},
    };
    json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        json_object_set_new(o, numbers[i].key, json_integer(numbers[i].value));
    json_object_set_new(into, "fills", o);
}

static void metrics(struct metric_page *page, void *self) {
    struct fill_stats s;
    fill_engine_stats(((const struct node *)self)->fills, &s);
    metric_set(page, METRIC_FILLS_RUNNING, (double)s.running);
    metric_set(page, METRIC_FILLS_STARTED, (double)s.started);
    metric_set(page, METRIC_FILLS_COMPLETED, (double)s.completed);
    metric_set(page, METRIC_FILLS_FAILED, (double)s.failed);
    metric_set(page, METRIC_FILLS_PASSED_THROUGH, (double)s.passed_through);
    metric_set(page, METRIC_FILL_READERS_LEFT_BEHIND, (double)s.left_behind);
    metric_set(page, METRIC_DIGEST_MISMATCHES, (double)s.mismatches);
    metric_set(page, METRIC_RESUMED_BYTES, (double)s.resumed_bytes);
}

const struct node_part part_fills = {
    .name = "fills", .start = start, .stop = stop, .status = status, .metrics = metrics};
