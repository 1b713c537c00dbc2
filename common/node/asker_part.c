/* Questions to sources as a part of a node: asked for the registry and for fills, of the sources its supply names.
 * Thread: as node_part.h says of each function. */
#include "common/node/node_part.h"
#include "common/source/ask.h"

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    n->asker = asker_new(&(struct asker_config){.loop = n->fetch,
                                                .pool = n->pool,
                                                .negative_ms = n->policy->negative_ms,
                                                .sources = n->supply->sources,
                                                .arg = n->supply->arg});
    *self = n;
    return 0;
}

static void stop(void *self) {
    struct node *n = self;
    asker_free(n->asker);
    n->asker = NULL;
}

const struct node_part part_asker = {.name = "asker", .start = start, .stop = stop};
