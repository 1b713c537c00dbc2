/* The fetches of a fill, one for each stretch. Thread: fetch loop. */
#include "common/fill/fill_private.h"

#include "common/core/alloc.h"

#include <assert.h>

/* A stretch ahead that brings nothing for this long is ended, if another source can be asked. */
#define STALL_MS 3000

struct under_way {
    struct fill *fill;
    struct under_way *next;
    struct stretch stretch;
    struct fetch *fetch;    /* NULL: it has ended */
    const char *origin;     /* fetch_head.origin */
    struct aside_at ahead;  /* ahead only: how far it has come */
    int64_t seen, still_ms; /* ahead only: where it was a tick ago, and how long nothing has come */
};

static struct under_way *in_turn(const struct fill *f) {
    struct under_way *u = f->stretch.first;
    while (u && u->stretch.ahead)
        u = u->next;
    return u;
}

static void drop(struct under_way *u) {
    struct under_way **link = &u->fill->stretch.first;
    while (*link != u)
        link = &(*link)->next;
    *link = u->next;
    u->fill->stretch.n_ahead -= u->stretch.ahead;
    if (u->fetch) fetch_cancel(u->fetch);
    free(u);
}

/* Nothing is lost: the stretch in turn fetches these bytes later. */
static void drop_failed(struct under_way *u) {
    plan_ahead_failed(u->fill, &u->stretch);
    drop(u);
}

static void drop_ahead(struct fill *f) {
    for (struct under_way *u = f->stretch.first, *next; u; u = next) {
        next = u->next;
        if (u->stretch.ahead) drop(u);
    }
}

/* --- what a source sends; each fill_go may free u --- */

static void on_head(struct fetch *fetch, const struct fetch_head *h, void *arg) {
    struct under_way *u = arg;
    struct fill *f = u->fill;
    u->origin = h->origin;
    if (!u->stretch.ahead)
        fill_go(f, plan_take_head(f, fetch->source, h));
    else if (h->total >= 0 && h->total != shared_size(&f->shared))
        drop_failed(u);
}

static void take_ahead(struct under_way *u, const void *data, size_t len) {
    struct fill *f = u->fill;
    /* The part file has already reached this piece, or the source sends more than was asked for. */
    bool is_needless = intake_taken(f) > piece_start(u->ahead.at) || u->ahead.at + (int64_t)len > u->stretch.to;
    switch (is_needless ? ASIDE_NO_ROOM : aside_take(f, &u->ahead, data, len)) {
    case ASIDE_TAKEN:
        break;
    case ASIDE_NO_ROOM:
        drop(u);
        break;
    case ASIDE_WRONG:
        plan_ahead_was_wrong(f, u->origin);
        drop_failed(u);
        break;
    case ASIDE_FAILED:
        drop_failed(u);
        break;
    }
}

static void on_data(struct fetch *fetch, const void *data, size_t len, void *arg) {
    struct under_way *u = arg;
    struct fill *f = u->fill;
    const struct fill_engine_config *cfg = &f->engine->cfg;
    if (cfg->received) cfg->received(fetch->source->name, (int64_t)len, cfg->arg);
    if (u->stretch.ahead)
        take_ahead(u, data, len);
    else
        fill_go(f, plan_take_data(f, data, len));
}

static void on_lull(struct fetch *fetch, void *arg) {
    (void)fetch;
    struct under_way *u = arg;
    struct fill *f = u->fill;
    if (!u->stretch.ahead) fill_go(f, plan_take_lull(f));
}

static void on_done(struct fetch *fetch, const struct fetch_end *e, void *arg) {
    (void)fetch;
    struct under_way *u = arg;
    struct fill *f = u->fill;
    bool ahead = u->stretch.ahead, complete = e->code == 0 && u->ahead.at == u->stretch.to;
    u->fetch = NULL;
    if (ahead && !complete && !e->gave_way)
        drop_failed(u);
    else
        drop(u); /* if it gave way and a reader still needs it, the next tick asks again */
    if (!ahead) fill_go(f, plan_take_end(f, e));
}

/* --- from outside --- */

void stretch_start(struct fill *f, const struct stretch *st, const struct fill_spec *by) {
    static const struct fetch_events events = {on_head, on_data, on_done, on_lull};
    assert(st->ahead || !in_turn(f));
    struct under_way *u = xcalloc(1, sizeof(*u));
    *u = (struct under_way){.fill = f, .next = f->stretch.first, .stretch = *st, .ahead.at = st->from};
    f->stretch.first = u;
    f->stretch.n_ahead += st->ahead;
    struct fetch_request rq;
    struct source *source = plan_request(f, st, by, &rq);
    u->fetch = fetch_start(source, &rq, &events, u);
}

bool stretch_in_turn(const struct fill *f) {
    return in_turn(f);
}

void stretch_leave(struct fill *f) {
    struct under_way *u = in_turn(f);
    if (u) drop(u);
}

void stretch_pause(struct fill *f) {
    struct under_way *u = in_turn(f);
    if (u) fetch_pause(u->fetch);
}

void stretch_resume(struct fill *f) {
    struct under_way *u = in_turn(f);
    if (u) fetch_resume(u->fetch);
}

void stretch_wanted_by(struct fill *f, const struct caller *caller) {
    struct under_way *u = in_turn(f);
    if (u) fetch_wanted_by(u->fetch, caller);
}

unsigned stretch_n_ahead(const struct fill *f) {
    return f->stretch.n_ahead;
}

bool stretch_brings(const struct fill *f, int64_t pos) {
    for (const struct under_way *u = f->stretch.first; u; u = u->next) {
        if (u->stretch.ahead && pos >= u->stretch.from && pos < u->stretch.to) return true;
    }
    return false;
}

void stretch_tick(struct fill *f, int64_t ms) {
    for (struct under_way *u = f->stretch.first, *next; u; u = next) {
        next = u->next;
        if (!u->stretch.ahead) continue;
        u->still_ms = u->ahead.at > u->seen ? 0 : u->still_ms + ms;
        u->seen = u->ahead.at;
        if (u->still_ms >= STALL_MS && plan_has_another(f, &u->stretch)) drop_failed(u);
    }
}

void stretch_forget_ahead(struct fill *f) {
    drop_ahead(f);
    aside_forget(f);
}

void stretch_over(struct fill *f) {
    while (f->stretch.first)
        drop(f->stretch.first);
}
