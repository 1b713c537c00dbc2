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
    };
    n->registry = registry_new(&rc);
    *self = n;
    return 0;
}

static void stop(void *self) {
    struct node *n = self;
    asker_cancel(n->asker);
    node_settle(n); /* those who asked hear of it */
    registry_free(n->registry);
    n->registry = NULL;
}

static void metrics(struct metric_page *page, void *self) {
    const struct node *n = self;
    struct share_stats made, tag_lists;
    registry_lists(n->registry, &made, &tag_lists);
    share_metrics(page, "lists", &made);
    share_metrics(page, "tag lists", &tag_lists);
}

const struct node_part part_registry = {.name = "registry", .start = start, .stop = stop, .metrics = metrics};
