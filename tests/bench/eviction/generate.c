/* A registry cache's days: nodes pull by popularity, tags move weekly over bases that stay, build machines pull what
 * nobody asks for again, and a scanner reads its whole list every night. Everything follows from the seed. Thread: one.
 */
#include "tests/bench/eviction/trace.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define MINUTES 1440u /* a day's */
#define LAYERS_MAX 12u
#define TAGS_MAX 3u
#define BASES 30u
#define STACKS 120u
#define KB 1000.0
#define MB 1000000.0
#define LAYER_MAX 1073741824.0
#define SCAN_BEGIN 120u /* two o'clock, */
#define SCAN_LASTS 150u /* to half past four */

struct layers {
    uint32_t id[LAYERS_MAX];
    unsigned n;
};

struct image {
    uint32_t manifest, config;
    struct layers layers;
};

/* A distribution's base, or a language's stack on top of one. */
struct foundation {
    struct layers layers;
    unsigned base;
};

struct tag {
    struct image image;
    struct layers own; /* above the stack */
};

struct repo {
    unsigned stack, n_tags;
    struct tag tags[TAGS_MAX];
};

enum event_kind { MOVE_BASE, MOVE_STACK, MOVE_TAG, PULL, CI_PULL };

struct event {
    uint32_t next; /* in the same minute; 0: none */
    uint16_t kind, node;
    uint32_t a, b;
};

struct world {
    const struct trace_model *m;
    struct trace *t;
    uint64_t random;
    struct foundation bases[BASES], stacks[STACKS];
    struct repo *repos;
    double *popular; /* cumulated */
    struct event *events;
    uint32_t n_events, events_cap;
    uint32_t *agenda; /* first event of each minute */
    uint32_t end;     /* minutes */
    struct image *ci;
    uint32_t n_ci, ci_cap;
    uint16_t *kept; /* of each object and node: the hour until which it is not asked for again */
    uint32_t kept_objects;
    uint32_t *scanned; /* repositories on the scanner's list */
};

/* --- chance --- */

static uint64_t next_random(struct world *w) { /* splitmix64 */
    uint64_t z = w->random += 0x9E3779B97F4A7C15ULL;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
    return z ^ z >> 31;
}

static double uniform(struct world *w) {
    return (double)(next_random(w) >> 11) * 0x1p-53;
}

static unsigned below(struct world *w, unsigned n) {
    return (unsigned)(uniform(w) * n);
}

static double lognormal(struct world *w, double median, double sigma) {
    double r = sqrt(-2 * log(1 - uniform(w))), x = median * exp(sigma * r * cos(6.283185307179586 * uniform(w)));
    return x < 200 ? 200 : x > LAYER_MAX ? LAYER_MAX : x;
}

static unsigned poisson(struct world *w, double mean) {
    unsigned n = 0;
    for (double p = uniform(w), limit = exp(-mean); p > limit; p *= uniform(w))
        n++;
    return n;
}

static uint32_t wait_days(struct world *w, double mean) {
    return 1 + (uint32_t)(-log(1 - uniform(w)) * mean * MINUTES);
}

static unsigned popular_repo(struct world *w) {
    double x = uniform(w) * w->popular[w->m->repos - 1];
    unsigned lo = 0, hi = w->m->repos - 1;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (w->popular[mid] < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* --- the agenda --- */

static void plan(struct world *w, uint32_t minute, struct event e) {
    if (minute >= w->end) return;
    if (w->n_events + 1 >= w->events_cap) {
        w->events_cap = w->events_cap ? w->events_cap * 2 : 4096;
        w->events = reallocarray(w->events, w->events_cap, sizeof(*w->events));
        if (!w->events) abort();
    }
    e.next = w->agenda[minute];
    w->events[++w->n_events] = e;
    w->agenda[minute] = w->n_events;
}

/* --- content --- */

static uint32_t new_layer(struct world *w, double median, double sigma) {
    return trace_add_object(w->t, TRACE_LAYER, (int64_t)lognormal(w, median, sigma));
}

static void new_base(struct world *w, struct foundation *b) {
    b->layers.n = 1 + below(w, 2);
    for (unsigned i = 0; i < b->layers.n; i++)
        b->layers.id[i] = new_layer(w, i ? 4 * MB : 30 * MB, 0.6);
}

static void new_stack(struct world *w, struct foundation *s) {
    s->layers = w->bases[s->base].layers;
    for (unsigned n = 2 + below(w, 4); n; n--)
        s->layers.id[s->layers.n++] = new_layer(w, 4 * MB, 2.0);
}

static double top_median(struct world *w) {
    return uniform(w) < 0.5 ? 100 * KB : 6 * MB; /* settings and scripts, or a program */
}

static void build(struct world *w, struct image *image, unsigned stack, const struct layers *own) {
    image->layers = w->stacks[stack].layers;
    for (unsigned i = 0; i < own->n; i++)
        image->layers.id[image->layers.n++] = own->id[i];
    assert(image->layers.n <= LAYERS_MAX);
    image->config = trace_add_object(w->t, TRACE_CONFIG, (int64_t)lognormal(w, 5 * KB, 0.5));
    image->manifest = trace_add_object(w->t, TRACE_MANIFEST, 400 + 160 * (int64_t)image->layers.n);
}

static void new_tag(struct world *w, struct repo *r, struct tag *tag) {
    tag->own.n = 2 + below(w, 3);
    for (unsigned i = 0; i < tag->own.n; i++)
        tag->own.id[i] = new_layer(w, top_median(w), 1.8);
    build(w, &tag->image, r->stack, &tag->own);
}

/* A release: the last layer or two are new, and what is beneath is as new as it is now. */
static void move_tag(struct world *w, struct repo *r, struct tag *tag) {
    unsigned changed = 1 + below(w, 2);
    for (unsigned i = tag->own.n - changed; i < tag->own.n; i++)
        tag->own.id[i] = new_layer(w, top_median(w), 1.8);
    build(w, &tag->image, r->stack, &tag->own);
}

/* --- pulls --- */

static uint16_t *kept(struct world *w, uint32_t object, unsigned node) {
    if (object >= w->kept_objects) {
        uint32_t was = w->kept_objects;
        w->kept_objects = object + 4096 + object / 4;
        w->kept = reallocarray(w->kept, (size_t)w->kept_objects * w->m->nodes, sizeof(*w->kept));
        if (!w->kept) abort();
        for (size_t i = (size_t)was * w->m->nodes; i < (size_t)w->kept_objects * w->m->nodes; i++)
            w->kept[i] = 0;
    }
    return &w->kept[(size_t)object * w->m->nodes + node];
}

/* node: its number, or as many as there are: one that keeps nothing. The manifest is asked for in any case. */
static void pull(struct world *w, uint32_t minute, const struct image *image, unsigned node) {
    uint32_t manifest = image->manifest;
    uint16_t hour = (uint16_t)(minute / 60), until = (uint16_t)(hour + 48 + below(w, 8 * 24));
    trace_ask(w->t, minute * 60, manifest, 0);
    for (unsigned i = 0; i <= image->layers.n; i++) {
        uint32_t object = i ? image->layers.id[i - 1] : image->config;
        if (node < w->m->nodes) {
            uint16_t *k = kept(w, object, node);
            bool held = *k > hour;
            *k = until;
            if (held) continue;
        }
        trace_ask(w->t, minute * 60, object, manifest);
    }
}

static struct image *pick(struct world *w, unsigned repo) {
    struct repo *r = &w->repos[repo];
    return &r->tags[uniform(w) < 0.7 ? 0 : below(w, r->n_tags)].image;
}

/* A new image of a build, pulled by one to three machines that keep nothing, within hours. */
static void ci_job(struct world *w, uint32_t minute) {
    if (w->n_ci == w->ci_cap) {
        w->ci_cap = w->ci_cap ? w->ci_cap * 2 : 1024;
        w->ci = reallocarray(w->ci, w->ci_cap, sizeof(*w->ci));
        if (!w->ci) abort();
    }
    struct layers own = {.n = 1 + below(w, 2)};
    for (unsigned i = 0; i < own.n; i++)
        own.id[i] = new_layer(w, top_median(w), 1.8);
    build(w, &w->ci[w->n_ci], w->repos[popular_repo(w)].stack, &own);
    for (unsigned n = 1 + below(w, 3), i = 0; i < n; i++)
        plan(w, minute + (i ? below(w, 240) + 1 : 1), (struct event){.kind = CI_PULL, .a = w->n_ci});
    w->n_ci++;
}

/* After a release, nodes that run it take it within two hours. */
static void roll_out(struct world *w, uint32_t minute, unsigned repo, unsigned tag) {
    double share = (repo ? w->popular[repo] - w->popular[repo - 1] : w->popular[0]) / w->popular[0];
    unsigned n = (unsigned)(sqrt(share) * w->m->nodes / 2);
    for (unsigned i = 0; i < n; i++)
        plan(w, minute + 1 + below(w, 120),
             (struct event){.kind = PULL, .node = (uint16_t)below(w, w->m->nodes), .a = repo, .b = tag});
}

static void happen(struct world *w, uint32_t minute, struct event e) {
    struct repo *r;
    switch (e.kind) {
    case MOVE_BASE:
        new_base(w, &w->bases[e.a]);
        plan(w, minute + wait_days(w, 40), e);
        break;
    case MOVE_STACK:
        new_stack(w, &w->stacks[e.a]);
        plan(w, minute + wait_days(w, 25), e);
        break;
    case MOVE_TAG:
        r = &w->repos[e.a];
        move_tag(w, r, &r->tags[e.b]);
        roll_out(w, minute, e.a, e.b);
        plan(w, minute + wait_days(w, 7), e);
        break;
    case PULL:
        pull(w, minute, &w->repos[e.a].tags[e.b].image, e.node);
        break;
    case CI_PULL:
        pull(w, minute, &w->ci[e.a], w->m->nodes);
        break;
    }
}

/* --- the days --- */

static void begin(struct world *w) {
    const struct trace_model *m = w->m;
    for (unsigned i = 0; i < BASES; i++) {
        new_base(w, &w->bases[i]);
        plan(w, wait_days(w, 40), (struct event){.kind = MOVE_BASE, .a = i});
    }
    for (unsigned i = 0; i < STACKS; i++) {
        double u = uniform(w);
        w->stacks[i].base = (unsigned)(u * u * BASES);
        new_stack(w, &w->stacks[i]);
        plan(w, wait_days(w, 25), (struct event){.kind = MOVE_STACK, .a = i});
    }
    for (unsigned i = 0; i < m->repos; i++) {
        struct repo *r = &w->repos[i];
        double u = uniform(w);
        r->stack = (unsigned)(u * u * STACKS);
        r->n_tags = 1 + below(w, TAGS_MAX);
        w->popular[i] = (i ? w->popular[i - 1] : 0) + pow(i + 1, -m->alpha);
        for (unsigned k = 0; k < r->n_tags; k++) {
            new_tag(w, r, &r->tags[k]);
            plan(w, wait_days(w, 7), (struct event){.kind = MOVE_TAG, .a = i, .b = k});
        }
    }
    for (unsigned i = 0; i < m->scan; i++)
        w->scanned[i] = (uint32_t)((uint64_t)i * m->repos / m->scan); /* from all ranks */
}

/* Work by day: a tenth of noon's traffic at night; 1 on average. */
static double rhythm(uint32_t minute) {
    double day = sin(((double)(minute % MINUTES) / MINUTES - 0.29) * 6.283185307179586);
    return (0.1 + (day > 0 ? day : 0)) / (0.1 + 0.3183);
}

static void live(struct world *w, uint32_t minute) {
    const struct trace_model *m = w->m;
    for (uint32_t i = w->agenda[minute]; i; i = w->events[i].next)
        happen(w, minute, w->events[i]);
    double part = rhythm(minute) / MINUTES;
    for (unsigned n = poisson(w, m->pulls * part); n; n--) {
        unsigned repo = popular_repo(w);
        bool keeps = uniform(w) < 0.9; /* the others are build machines */
        pull(w, minute, pick(w, repo), keeps ? below(w, m->nodes) : m->nodes);
    }
    for (unsigned n = poisson(w, m->ci * part); n; n--)
        ci_job(w, minute);
    unsigned at = minute % MINUTES - SCAN_BEGIN;
    if (minute % MINUTES < SCAN_BEGIN || at >= SCAN_LASTS) return;
    for (unsigned i = at * m->scan / SCAN_LASTS; i < (at + 1) * m->scan / SCAN_LASTS; i++)
        pull(w, minute, &w->repos[w->scanned[i]].tags[0].image, m->nodes);
}

struct trace_model trace_model_default(uint64_t seed) {
    return (struct trace_model){
        .seed = seed,
        .days = 35,
        .repos = 600,
        .alpha = 0.9,
        .nodes = 50,
        .pulls = 3000,
        .ci = 120,
        .scan = 200,
    };
}

struct trace *trace_generate(const struct trace_model *m) {
    assert(m->repos > 0 && m->nodes > 0 && m->days > 0 && m->days < 1000);
    struct world w = {
        .m = m,
        .t = trace_new(),
        .random = m->seed,
        .repos = calloc(m->repos, sizeof(*w.repos)),
        .popular = calloc(m->repos, sizeof(*w.popular)),
        .end = m->days * MINUTES,
        .agenda = calloc(m->days * MINUTES, sizeof(*w.agenda)),
        .scanned = calloc(m->scan + 1, sizeof(*w.scanned)),
    };
    if (!w.repos || !w.popular || !w.agenda || !w.scanned) abort();
    begin(&w);
    for (uint32_t minute = 0; minute < w.end; minute++)
        live(&w, minute);
    free(w.repos);
    free(w.popular);
    free(w.agenda);
    free(w.scanned);
    free(w.events);
    free(w.ci);
    free(w.kept);
    return w.t;
}
