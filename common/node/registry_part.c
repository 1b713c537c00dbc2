/* The registry API as a part of a node. Thread: as node_part.h says of each function. */
#include "common/node/node_part.h"
#include "common/node/share_metrics.h"
#include "common/source/ask.h"

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct registry_config rc = {
        .name = n->config->program,
        .store = n->store,
        .fills = n->fills,
        .pool = n->pool,
        .reads = n->reads,
        .lists = n->lists,
        .list_threads = NODE_LIST_THREADS,
        .queue_of_one = n->config->waiting_per_addr,
        .queue = n->config->waiting,
        .asker = n->asker,
        .fetch_loop = n->fetch,
        .stale_for_s = n->config->stale_for_ms / 1000,
        .policy = n->policy,
        .content = n->content,
        .keeper = n->keeper,
        .director = n->director,
    };
    n->registry = registry_new(&rc);
    *self = n;
    return 0;
}

static void stop(void *self) {
    struct node *n = self;
    asker_cancel(n->asker);
    node_settle(n); /* runs the callbacks of those who have asked */
    registry_free(n->registry);
    n->registry = NULL;
}

static void status(json_t *into, void *self) {
    struct registry_stats s;
    registry_stats(((const struct node *)self)->registry, &s);
    int64_t all = s.hits + s.misses;
    json_t *ratio = all ? json_real((double)s.hits / (double)all) : json_null();
    json_object_set_new(into, "pulls",
                        json_pack("{s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:I,s:I}", "hits", (json_int_t)s.hits, "misses",
                                  (json_int_t)s.misses, "hit_ratio", ratio, "joined", (json_int_t)s.joined, "hit_bytes",
                                  (json_int_t)s.hit_bytes, "fill_bytes", (json_int_t)s.fill_bytes, "stale",
                                  (json_int_t)s.stale, "negative", (json_int_t)s.negative, "redirected",
                                  (json_int_t)s.redirected));
}

static void pulls_metrics(struct metric_page *page, const struct registry *g) {
    struct registry_stats s;
    registry_stats(g, &s);
    metric_set(page, METRIC_HITS, (double)s.hits);
    metric_set(page, METRIC_MISSES, (double)s.misses);
    metric_set(page, METRIC_COALESCED_READERS, (double)s.joined);
    metric_set(page, METRIC_STALE_TAGS, (double)s.stale);
    metric_set(page, METRIC_NEGATIVE_ANSWERS, (double)s.negative);
    metric_set(page, METRIC_REDIRECTED_BLOBS, (double)s.redirected);
    metric_label_set(page, FAMILY_CLIENT_BYTES, "disk", NULL, (double)s.hit_bytes);
    metric_label_set(page, FAMILY_CLIENT_BYTES, "fill", NULL, (double)s.fill_bytes);
}

static void metrics(struct metric_page *page, void *self) {
    const struct node *n = self;
    pulls_metrics(page, n->registry);
    struct share_stats made, tag_lists;
    registry_lists(n->registry, &made, &tag_lists);
    share_metrics(page, "lists", &made);
    share_metrics(page, "tag lists", &tag_lists);
}

const struct node_part part_registry = {
    .name = "registry", .start = start, .stop = stop, .status = status, .metrics = metrics};
