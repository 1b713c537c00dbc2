/* A timer on the fetch loop takes what is due, within the rate of each upstream, and has the registry resolve it as for
 * any request. Of a tag that has moved the new manifest is not fetched: that would count as a pull at the upstream, and
 * perhaps nobody wants it. Its last check grows old, so the first edge that is asked for it asks central.
 * Thread: the fetch loop, but for what is marked. */
#include "central/freshness/freshness_part.h"

#include "central/freshness/due.h"
#include "central/names/names_part.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <stdio.h>
#include <string.h>

#define TICK_MS 250
#define TIDY_MS 1000
/* Checks of one upstream that may be under way at once. */
#define BUSY_MAX 8

/* What one upstream allows. */
struct allowance {
    unsigned per_second;
    int64_t thousandths; /* of checks that may begin now */
    unsigned busy;
};

struct freshness {
    struct node *node;
    const struct central_config *cfg;
    struct due *due;
    struct allowance *allowed; /* of each upstream */
    struct timer tick;
    int64_t ticked_ms, tidied_ms;
    _Atomic int64_t checked, moved, tags;
};

/* One tag being checked. */
struct check {
    struct freshness *all;
    struct due_tag of;
};

/* --- asked for: any thread --- */

static void on_asked(const struct repo_name *repo, const char *tag, const struct tag_facts *facts, void *arg) {
    struct freshness *f = arg;
    long i = repo->upstream[0] ? central_upstream_index(f->cfg, repo->upstream) : -1;
    if (i < 0 || f->cfg->upstreams[i].revalidate == 0 || facts->deleted) return;
    struct due_tag t = {.upstream = (unsigned)i, .repo = *repo};
    snprintf(t.tag, sizeof(t.tag), "%s", tag);
    int64_t age_s = clock_wall_s() - facts->checked_at;
    due_asked(f->due, &t, f->cfg->upstreams[i].fresh_for_ms, age_s > 0 ? age_s * 1000 : 0, clock_mono_ms());
}

/* --- one check --- */

static void on_resolved(const struct tag_answer *a, void *arg) {
    struct check *c = arg;
    struct freshness *f = c->all;
    int64_t age_s = a->code == 0 && !a->facts.stale ? clock_wall_s() - a->facts.checked_at : -1;
    due_checked(f->due, &c->of, age_s < 0 ? -1 : age_s * 1000, clock_mono_ms());
    if (a->code == 0 && a->has_last) atomic_fetch_add(&f->moved, 1);
    f->allowed[c->of.upstream].busy--;
    free(c);
}

static void begin_check(struct freshness *f, const struct due_tag *t) {
    static const struct caller self = {.kind = CALLER_SELF};
    struct check *c = xcalloc(1, sizeof(*c));
    *c = (struct check){.all = f, .of = *t};
    f->allowed[t->upstream].busy++;
    atomic_fetch_add(&f->checked, 1);
    registry_resolve_tag(f->node->registry, &self, &c->of.repo, names_rules(f->node)->version, c->of.tag, "", NULL,
                         on_resolved, c);
}

/* --- what is due --- */

static void check_due(struct freshness *f, unsigned upstream, int64_t passed_ms, int64_t now_ms) {
    struct allowance *a = &f->allowed[upstream];
    struct due_tag t;
    a->thousandths += passed_ms * a->per_second;
    /* What was not used within a second is not saved up. */
    if (a->thousandths > 1000LL * a->per_second) a->thousandths = 1000LL * a->per_second;
    while (a->thousandths >= 1000 && a->busy < BUSY_MAX && due_take(f->due, upstream, now_ms, &t)) {
        a->thousandths -= 1000;
        begin_check(f, &t);
    }
}

static void on_tick(void *arg) {
    struct freshness *f = arg;
    int64_t now_ms = clock_mono_ms();
    for (unsigned i = 0; i < f->cfg->n_upstreams; i++)
        check_due(f, i, now_ms - f->ticked_ms, now_ms);
    f->ticked_ms = now_ms;
    if (now_ms - f->tidied_ms >= TIDY_MS) {
        atomic_store(&f->tags, (int64_t)due_tidy(f->due, now_ms));
        f->tidied_ms = now_ms;
    }
    timer_set(&f->tick, TICK_MS);
}

/* --- life --- */

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct freshness *f = xcalloc(1, sizeof(*f));
    f->node = n;
    f->cfg = central_config_of(n);
    f->due = due_new(DUE_TAGS_MAX);
    f->allowed = xcalloc(f->cfg->n_upstreams + 1, sizeof(*f->allowed));
    for (size_t i = 0; i < f->cfg->n_upstreams; i++)
        f->allowed[i].per_second = f->cfg->upstreams[i].revalidate;
    timer_init(&f->tick, n->fetch, on_tick, f);
    names_on_asked(n, on_asked, f);
    *self = f;
    return 0;
}

static void running(void *self) {
    struct freshness *f = self;
    f->ticked_ms = f->tidied_ms = clock_mono_ms();
    timer_set(&f->tick, TICK_MS);
}

/* The registry tells those that asked. */
static void on_ending(void *arg) {
    timer_clear(&((struct freshness *)arg)->tick);
}

static void ending(void *self) {
    loop_call(((struct freshness *)self)->node->fetch, on_ending, self);
}

static void stop(void *self) {
    struct freshness *f = self;
    names_on_asked(f->node, NULL, NULL);
    timer_fini(&f->tick);
    due_free(f->due);
    free(f->allowed);
    free(f);
}

static void metrics(struct metric_page *page, void *self) {
    struct freshness *f = self;
    metric_set(page, METRIC_REVALIDATED, (double)atomic_load(&f->checked));
    metric_set(page, METRIC_REVALIDATED_MOVED, (double)atomic_load(&f->moved));
    metric_set(page, METRIC_REVALIDATED_TAGS, (double)atomic_load(&f->tags));
}

const struct node_part part_freshness = {
    .name = "freshness", .start = start, .running = running, .ending = ending, .stop = stop, .metrics = metrics};
