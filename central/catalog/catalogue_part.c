/* Opens the catalogue, feeds it with news, and tells fills what it knows. Thread: as node_part.h and fill/ledger.h say
 * of each function. */
#include "central/catalog/catalogue_part.h"

#include "common/core/alloc.h"

#include "central/catalog/relearn.h"
#include "central/names/names_part.h"

#include <stdatomic.h>
#include <stdio.h>

#define CATALOG_READERS 4

struct catalogue {
    struct node *node;
    struct catalog *catalog;
    struct ledger ledger;
    struct work relearn;
    atomic_bool relearns, again, ends;
};

/* Gives a fill the size of its blob, as seen when it was held or as manifests claim it. The fill plans room by it. A
 * size that was seen also exposes an upstream whose answer has another length. */
struct known_size {
    struct catalog_query query;
    struct catalog_fact fact;
    struct fill *fill;
};

static void on_known_size(struct catalog_query *q) {
    struct known_size *p = container_of(q, struct known_size, query);
    struct fill_advice advice = {.size = p->fact.code == 0 ? p->fact.size : -1, .claimed = p->fact.claimed};
    fill_advise(p->fill, &advice);
    catalog_fact_fini(&p->fact);
    free(p);
}

static void ask_catalogue(struct fill *f, const struct fill_spec *spec, void *arg) {
    struct catalogue *c = arg;
    struct known_size *p = xcalloc(1, sizeof(*p));
    p->fill = f;
    p->fact.digest = spec->digest;
    p->query = (struct catalog_query){.catalog = c->catalog,
                                      .facts = &p->fact,
                                      .n = 1,
                                      .max_bytes = MiB,
                                      .whose = caller_number(&spec->caller),
                                      .loop = c->node->fetch,
                                      .done = on_known_size};
    catalog_query_submit(&p->query, c->node->pool);
}

/* After a start, and when a failing disk has kept something from the catalogue. If that happens while this runs, it runs
 * again. */
static void begin_relearning(void *arg) {
    struct catalogue *c = arg;
    atomic_store(&c->again, true);
    if (!atomic_load(&c->ends) && !atomic_exchange(&c->relearns, true)) workpool_submit(c->node->pool, &c->relearn);
}

static void relearn(struct work *w) {
    struct catalogue *c = container_of(w, struct catalogue, relearn);
    atomic_store(&c->again, false);
    catalog_relearn(c->catalog, c->node->content, c->node->store, names_rules(c->node));
    atomic_store(&c->relearns, false);
    if (atomic_load(&c->again)) begin_relearning(c);
}

static int start(struct node *n, void **self, struct error *err) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/catalog.db", n->config->data);
    struct catalogue *c = xcalloc(1, sizeof(*c));
    int r = catalog_open(&c->catalog, path, CATALOG_READERS, err);
    if (r < 0) {
        free(c);
        return r;
    }
    c->relearn.fn = relearn;
    catalog_on_recovery(c->catalog, begin_relearning, c);
    catalog_bound(c->catalog, central_config_of(n)->catalog_limit);
    catalog_keep_log(c->catalog, central_config_of(n)->catalog_log_entries);
    c->node = n;
    c->ledger = (struct ledger){.ask_catalogue = ask_catalogue, .arg = c};
    n->ledger = &c->ledger;
    const struct content_listener l = catalog_listener(c->catalog);
    content_listen(n->content, &l);
    *self = c;
    return 0;
}

static void running(void *self) {
    struct catalogue *c = self;
    begin_relearning(c);
}

static void ending(void *self) {
    atomic_store(&((struct catalogue *)self)->ends, true);
}

static void stop(void *self) {
    struct catalogue *c = self;
    content_leave(c->node->content, c->catalog);
    catalog_close(c->catalog);
    free(c);
}

static void status(json_t *into, void *self) {
    struct catalog *c = ((struct catalogue *)self)->catalog;
    struct catalog_stats s;
    catalog_stats(c, &s);
    json_object_set_new(into, "catalogue",
                        json_pack("{s:I, s:I, s:I}", "sequence", (json_int_t)catalog_sequence(c), "bytes",
                                  (json_int_t)s.bytes, "limit", (json_int_t)s.limit));
}

static void metrics(struct metric_page *page, void *self) {
    struct catalog *c = ((struct catalogue *)self)->catalog;
    struct catalog_stats s;
    catalog_stats(c, &s);
    metric_set(page, METRIC_CATALOGUE_SEQUENCE, (double)catalog_sequence(c));
    metric_set(page, METRIC_CATALOGUE_BYTES, (double)s.bytes);
    metric_set(page, METRIC_CATALOGUE_LIMIT, (double)s.limit);
    metric_set(page, METRIC_CATALOGUE_PRUNED, (double)s.pruned);
}

const struct node_part part_catalogue = {.name = "catalogue",
                                         .start = start,
                                         .running = running,
                                         .ending = ending,
                                         .stop = stop,
                                         .status = status,
                                         .metrics = metrics};

struct catalog *catalogue_of(const struct node *n) {
    return ((struct catalogue *)node_part(n, &part_catalogue))->catalog;
}
