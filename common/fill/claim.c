/* A digest that is held, or on its way, for one repository is wanted by another whose right to it is not known: its own
 * source is asked by HEAD whether it has it (design.md: "or the upstream's own answer for that name"). Thread: fetch
 * loop. */
#include "common/fill/fill_private.h"

#include <stdio.h>
#include <string.h>

struct claim {
    struct fill_shard *shard;
    struct fill_reader *reader;
    void (*answered)(struct fill_shard *sh, struct fill_reader *r, const struct fetch_end *end);
    struct source *sources[SOURCES_MAX];
    unsigned n_sources, source;
    struct fetch *fetch;
    struct timer start;
    struct failures failures;
    struct fetch_end end;
};

static void ask(struct claim *c);

static void finish(struct claim *c) {
    struct fill_shard *sh = c->shard;
    struct fill_reader *r = c->reader;
    struct fetch_end end = c->end;
    void (*answered)(struct fill_shard *, struct fill_reader *, const struct fetch_end *) = c->answered;
    claim_cancel(c);
    r->claim = NULL;
    answered(sh, r, &end);
}

static void on_head(struct fetch *fetch, const struct fetch_head *h, void *arg) {
    (void)fetch;
    (void)h;
    (void)arg;
}

static void on_data(struct fetch *fetch, const void *data, size_t len, void *arg) {
    (void)fetch;
    (void)data;
    (void)len;
    (void)arg;
}

static void on_done(struct fetch *fetch, const struct fetch_end *e, void *arg) {
    (void)fetch;
    struct claim *c = arg;
    c->fetch = NULL;
    if (e->code != 0) failure_note(&c->failures, c->sources[c->source], e);
    c->end = e->code != 0 ? c->failures.told : *e;
    c->source++;
    if (e->code != 0 && c->source < c->n_sources)
        ask(c);
    else
        finish(c);
}

static const struct fetch_events events = {.head = on_head, .data = on_data, .done = on_done};

static void ask(struct claim *c) {
    const struct fill_spec *spec = &c->reader->spec;
    struct fetch_request rq = {
        .kind = spec->manifest ? FETCH_MANIFEST_HEAD : FETCH_BLOB_HEAD,
        .repo = spec->repo,
        .caller = spec->caller,
        .settings = spec->settings,
        .ref = {.is_digest = true, .digest = spec->digest},
    };
    memcpy(rq.request_id, spec->request_id, sizeof(rq.request_id));
    c->fetch = fetch_start(c->sources[c->source], &rq, &events, c);
}

static void on_start(void *arg) {
    struct claim *c = arg;
    if (c->n_sources) {
        ask(c);
        return;
    }
    c->end.code = ERR_NOT_FOUND;
    snprintf(c->end.msg, sizeof(c->end.msg), "not known in this repository");
    finish(c);
}

void claim_start(struct fill_shard *sh, struct fill_reader *r,
                 void (*answered)(struct fill_shard *sh, struct fill_reader *r, const struct fetch_end *end)) {
    struct claim *c = calloc(1, sizeof(*c));
    if (!c) abort();
    c->shard = sh;
    c->reader = r;
    c->answered = answered;
    c->n_sources = sh->engine->cfg.sources(&r->spec, c->sources, sh->engine->cfg.arg);
    r->claim = c;
    timer_init(&c->start, sh->loop, on_start, c);
    timer_set(&c->start, 0);
}

void claim_cancel(struct claim *c) {
    if (c->fetch) fetch_cancel(c->fetch);
    timer_fini(&c->start);
    free(c);
}
