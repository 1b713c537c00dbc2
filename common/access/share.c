/* Callers in rings, one ring a kind, and in each place of a ring the callers of one group. Thread: as share.h says. */
#include "common/access/share.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/map.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#define LOOK_MS 20 /* between looks at who waits; a newcomer waits at least this long before a body gives way */
/* How long a body keeps its place: in its first turn, and in later ones. If many are new the first turn is shorter, so
 * that each body begins within about half a second. A later turn must be longer than the time-out of an upstream's
 * stalled body, or that time-out would never be reached. */
#define FIRST_TURN_MS 500
#define FIRST_TURN_MIN_MS 100
#define LATER_TURN_MS 6000
#define ASKED_TURN_MS 2000
/* So long after two callers asked one after the other, others are taken to ask, too. */
#define OTHERS_MS 1000

/* A member of a ring. */
struct link {
    struct link *next, *prev; /* NULL: in no ring */
    void *of;
};

/* The clients that ask through one node, or a caller alone. */
struct group {
    struct caller caller; /* without its client */
    unsigned held, waiting_new, n_callers;
    struct {
        struct link link;     /* in the share's ring, while a caller of the group waits */
        struct link *callers; /* the group's own ring: whose turn is next */
    } turns[SHARE_KINDS][2];
};

struct share_caller {
    struct caller caller;
    struct group *group;
    unsigned held, waiting;
    unsigned held_of_kind[SHARE_KINDS];
    unsigned waiting_new; /* of those that wait: not begun */
    struct turn {
        struct share_entry *first, *last; /* waiting entries */
        struct link link;                 /* in the group's ring, while there are any */
    } turns[SHARE_KINDS][2];              /* of new requests, and of those that go on */
};

/* Entries in the order of since_ms. */
struct row {
    struct share_entry *first, *last;
    unsigned n;
};

struct share {
    struct share_config cfg;
    struct row waiters[SHARE_KINDS][2]; /* new ones, and those that were begun */
    struct row bodies[SHARE_KINDS];     /* that come */
    struct timer look;
    bool looks;
    struct map *callers;                /* struct caller -> share_caller, those that hold a place or wait */
    struct map *groups;                 /* struct caller without its client -> group, of these callers */
    struct link *rings[SHARE_KINDS][2]; /* groups: whose turn is next */
    unsigned of_kind[SHARE_KINDS];      /* places taken */
    unsigned of_begun[SHARE_KINDS];     /* of them, by requests that go on or have had their first turn */
    struct share_entry *promised;       /* the next place is its; set while another gives way to it */
    unsigned taken, waiting;
    unsigned waiting_new; /* of those that wait: not begun */
    bool closed;
    struct caller last_asked;
    int64_t others_until_ms; /* more than one caller asks */
    _Atomic int64_t shown_taken, shown_waiting, shown_callers, refused, gave_way;
};

static void show(struct share *s) {
    atomic_store_explicit(&s->shown_taken, s->taken, memory_order_relaxed);
    atomic_store_explicit(&s->shown_waiting, s->waiting, memory_order_relaxed);
    atomic_store_explicit(&s->shown_callers, (int64_t)map_len(s->callers), memory_order_relaxed);
}

/* --- callers --- */

static struct group *group_of(struct share *s, const struct caller *caller) {
    struct caller key = caller_node(caller);
    struct group *g = map_get(s->groups, &key, sizeof(key));
    if (g) return g;
    g = xcalloc(1, sizeof(*g));
    g->caller = key;
    map_set(s->groups, &key, sizeof(key), g);
    return g;
}

static struct share_caller *caller_of(struct share *s, const struct caller *caller) {
    struct share_caller *c = map_get(s->callers, caller, sizeof(*caller));
    if (c) return c;
    c = xcalloc(1, sizeof(*c));
    c->caller = *caller;
    c->group = group_of(s, caller);
    c->group->n_callers++;
    map_set(s->callers, caller, sizeof(*caller), c);
    return c;
}

static void drop_idle(struct share *s, struct share_caller *c) {
    if (c->held > 0 || c->waiting > 0) return;
    struct group *g = c->group;
    if (--g->n_callers == 0) map_del(s->groups, &g->caller, sizeof(g->caller));
    map_del(s->callers, &c->caller, sizeof(c->caller));
}

static void ring_add(struct link **ring, struct link *l, void *of) {
    struct link *next = *ring;
    l->of = of;
    if (!next) {
        l->next = l->prev = *ring = l;
        return;
    }
    l->next = next; /* the last of all */
    l->prev = next->prev;
    l->prev->next = next->prev = l;
}

static void ring_del(struct link **ring, struct link *l) {
    if (*ring == l) *ring = l->next == l ? NULL : l->next;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->next = l->prev = NULL;
}

/* Its first entry of this kind waits. */
static void line_up(struct share *s, struct share_caller *c, unsigned kind, bool begun) {
    struct group *g = c->group;
    if (!g->turns[kind][begun].callers) ring_add(&s->rings[kind][begun], &g->turns[kind][begun].link, g);
    ring_add(&g->turns[kind][begun].callers, &c->turns[kind][begun].link, c);
}

/* None waits any more. */
static void leave_line(struct share *s, struct share_caller *c, unsigned kind, bool begun) {
    struct group *g = c->group;
    ring_del(&g->turns[kind][begun].callers, &c->turns[kind][begun].link);
    if (!g->turns[kind][begun].callers) ring_del(&s->rings[kind][begun], &g->turns[kind][begun].link);
}

/* It has had its turn. */
static void next_turn(struct share *s, const struct share_caller *c, unsigned kind, bool begun) {
    struct group *g = c->group;
    s->rings[kind][begun] = g->turns[kind][begun].link.next;
    g->turns[kind][begun].callers = c->turns[kind][begun].link.next;
}

static void row_add(struct row *row, struct share_entry *e) {
    e->since_ms = clock_mono_ms();
    e->row_next = NULL;
    e->row_prev = row->last;
    if (row->last)
        row->last->row_next = e;
    else
        row->first = e;
    row->last = e;
    row->n++;
}

static void row_del(struct row *row, struct share_entry *e) {
    if (e->row_prev)
        e->row_prev->row_next = e->row_next;
    else
        row->first = e->row_next;
    if (e->row_next)
        e->row_next->row_prev = e->row_prev;
    else
        row->last = e->row_prev;
    e->row_next = e->row_prev = NULL;
    row->n--;
}

static struct row *waiters_of(struct share *s, const struct share_entry *e) {
    return &s->waiters[e->kind][e->begun];
}

static void queue_add(struct share *s, struct share_caller *c, struct share_entry *e) {
    struct turn *t = &c->turns[e->kind][e->begun];
    e->of = c;
    e->waits = true;
    e->next = NULL;
    e->prev = t->last;
    if (t->last)
        t->last->next = e;
    else
        t->first = e;
    t->last = e;
    if (!t->link.next) line_up(s, c, e->kind, e->begun);
    c->waiting++;
    s->waiting++;
    c->waiting_new += !e->begun;
    c->group->waiting_new += !e->begun;
    s->waiting_new += !e->begun;
}

static void queue_del(struct share *s, struct share_entry *e) {
    struct share_caller *c = e->of;
    struct turn *t = &c->turns[e->kind][e->begun];
    if (e->prev)
        e->prev->next = e->next;
    else
        t->first = e->next;
    if (e->next)
        e->next->prev = e->prev;
    else
        t->last = e->prev;
    if (!t->first) leave_line(s, c, e->kind, e->begun);
    e->next = e->prev = NULL;
    e->waits = false;
    c->waiting--;
    s->waiting--;
    c->waiting_new -= !e->begun;
    c->group->waiting_new -= !e->begun;
    s->waiting_new -= !e->begun;
}

/* --- places --- */

static unsigned most_of(const struct share *s, unsigned kind) {
    unsigned most = s->cfg.kinds[kind].most;
    return most && most < s->cfg.places ? most : s->cfg.places;
}

/* True if one may be taken so that this many eighths of all are left. */
static bool leaves(const struct share *s, unsigned kind, unsigned eighths) {
    unsigned most = most_of(s, kind);
    return s->cfg.places - s->taken > s->cfg.places * eighths / 8 && most - s->of_kind[kind] > most * eighths / 8;
}

/* The last eighth is for groups that have nothing, and the one before it for clients of a node that have nothing. */
static bool may_have(const struct share *s, const struct share_caller *c, unsigned kind) {
    if (c->group->held == 0) return true;
    unsigned most = s->cfg.kinds[kind].most_of_one;
    if (most && c->held_of_kind[kind] >= most) return false;
    most = s->cfg.kinds[kind].most_beside_others;
    if (most && c->held_of_kind[kind] >= most && clock_mono_ms() < s->others_until_ms) return false;
    return leaves(s, kind, c->held > 0 && c->caller.client ? 2 : 1);
}

/* A quarter of the places is for new requests, so that they need not wait until a body gives way. */
static unsigned most_of_begun(const struct share *s, unsigned kind) {
    unsigned most = most_of(s, kind);
    return most - most / 4;
}

static bool begun_are_full(const struct share *s, unsigned kind) {
    return s->of_begun[kind] >= most_of_begun(s, kind);
}

static unsigned equal_part(unsigned of, size_t among) {
    unsigned part = of / (unsigned)among;
    return part ? part : 1;
}

/* The caller of the group whose turn it is. The loop is short: if a caller that has no place may not have one, no other
 * may, so it passes over callers that hold places only, at most one a place. */
static struct share_caller *next_of_group(const struct share *s, const struct group *g, unsigned kind, bool begun) {
    struct link *first = g->turns[kind][begun].callers, *l = first;
    if (g->held > 0 && !leaves(s, kind, 1)) return NULL;
    unsigned part = equal_part(equal_part(s->cfg.places, map_len(s->groups)), g->n_callers);
    do {
        struct share_caller *c = l->of;
        if (c->held < part && may_have(s, c, kind)) return c;
        l = l->next;
    } while (l != first);
    do {
        struct share_caller *c = l->of;
        if (may_have(s, c, kind)) return c;
        l = l->next;
    } while (l != first);
    return NULL;
}

/* The caller whose turn it is. Groups are passed over as callers are. */
static struct share_caller *next_caller(const struct share *s, unsigned kind, bool begun) {
    struct link *first = s->rings[kind][begun], *l = first;
    if (!first || (begun && begun_are_full(s, kind))) return NULL;
    unsigned part = equal_part(s->cfg.places, map_len(s->groups));
    do {
        const struct group *g = l->of;
        struct share_caller *c = g->held < part ? next_of_group(s, g, kind, begun) : NULL;
        if (c) return c;
        l = l->next;
    } while (l != first);
    do {
        struct share_caller *c = next_of_group(s, l->of, kind, begun);
        if (c) return c;
        l = l->next;
    } while (l != first);
    return NULL;
}

static bool goes_before(const struct share *s, unsigned a, unsigned b) {
    uint64_t weight_a = s->cfg.kinds[a].weight ? s->cfg.kinds[a].weight : 1;
    uint64_t weight_b = s->cfg.kinds[b].weight ? s->cfg.kinds[b].weight : 1;
    return (s->of_kind[a] + 1) * weight_b < (s->of_kind[b] + 1) * weight_a;
}

/* Among the kinds that may have a place: the one with the fewest places for its weight. New requests come first. */
static struct share_entry *choose(const struct share *s) {
    struct share_entry *best = NULL;
    for (unsigned k = 0; k < SHARE_KINDS; k++) {
        if (s->of_kind[k] >= most_of(s, k) || (best && !goes_before(s, k, best->kind))) continue;
        struct share_caller *new = next_caller(s, k, false), *begun = new ? NULL : next_caller(s, k, true);
        if (new || begun) best = new ? new->turns[k][false].first : begun->turns[k][true].first;
    }
    return best;
}

/* True if bodies may have to give way before anybody waits: several callers have nearly all places. A single caller
 * leaves the last ones anyway. */
static bool is_crowded(const struct share *s, unsigned kind) {
    return map_len(s->callers) > 1 && s->of_kind[kind] > most_of_begun(s, kind);
}

static void look_later(struct share *s) {
    bool crowded = false;
    for (unsigned kind = 0; kind < SHARE_KINDS; kind++)
        crowded |= s->bodies[kind].n > 0 && is_crowded(s, kind);
    if (!s->cfg.loop || s->looks || s->closed || (s->waiting == 0 && !crowded)) return;
    s->looks = true;
    timer_set(&s->look, LOOK_MS);
}

static struct share_entry *next_entry(struct share *s) {
    struct share_entry *e = s->promised;
    s->promised = NULL;
    return e && s->of_kind[e->kind] < most_of(s, e->kind) ? e : choose(s);
}

static void give(struct share *s) {
    while (!s->closed && s->taken < s->cfg.places) {
        struct share_entry *e = next_entry(s);
        if (!e) break;
        struct share_caller *c = e->of;
        next_turn(s, c, e->kind, e->begun);
        queue_del(s, e);
        row_del(waiters_of(s, e), e);
        e->has_place = true;
        c->held++;
        c->held_of_kind[e->kind]++;
        c->group->held++;
        s->taken++;
        s->of_kind[e->kind]++;
        s->of_begun[e->kind] += e->begun;
        s->cfg.placed(e, s->cfg.arg);
    }
    show(s);
    look_later(s);
}

/* --- giving way --- */

/* True if c gains when body gives way: body is c's own, or of a group or of a client of c's group that has more. */
static bool helps(const struct share_caller *c, const struct share_entry *body) {
    const struct share_caller *of = body->of;
    if (of->group != c->group) return of->group->held > c->group->held + (c->group->held > 0);
    return of == c || of->held > c->held + (c->held > 0);
}

static int64_t first_turn_ms(const struct share *s, unsigned kind) {
    unsigned new = s->waiters[kind][false].n;
    int64_t ms = new > 0 ? FIRST_TURN_MS *(int64_t)most_of(s, kind) / new : FIRST_TURN_MS;
    return ms < FIRST_TURN_MIN_MS ? FIRST_TURN_MIN_MS : ms > FIRST_TURN_MS ? FIRST_TURN_MS : ms;
}

/* How long it keeps its place. */
static int64_t turn_ms(const struct share *s, const struct share_entry *body, int64_t first_turn) {
    return body->begun ? s->cfg.later_turn_ms : body->flows ? first_turn : ASKED_TURN_MS;
}

/* Less than 0: a's caller has fewer places. Groups are compared first. */
static int compare_held(const struct share_caller *a, const struct share_caller *b) {
    if (a->group->held != b->group->held) return a->group->held < b->group->held ? -1 : 1;
    return a->held < b->held ? -1 : a->held > b->held;
}

/* The slowest body of the caller with the most places, for an entry that waits (NULL: for those to come). NULL: no body
 * has had its whole turn yet. */
static struct share_entry *who_gives_way(const struct share *s, unsigned kind, const struct share_entry *waits,
                                         int64_t now_ms) {
    struct share_entry *best = NULL;
    bool of_begun = waits && waits->begun && begun_are_full(s, kind); /* only the place of such a one is of use */
    int64_t best_speed = 0, first_turn = first_turn_ms(s, kind);
    for (struct share_entry *e = s->bodies[kind].first; e; e = e->row_next) {
        if (now_ms - e->since_ms < turn_ms(s, e, first_turn) || (of_begun && !e->begun && !e->had_turn)) continue;
        if (waits && !helps(waits->of, e)) continue;
        int more = best ? compare_held(e->of, best->of) : 1;
        if (more < 0) continue;
        int64_t speed = s->cfg.speed(e, s->cfg.arg);
        if (speed < 0 || (more == 0 && speed >= best_speed)) continue;
        best = e;
        best_speed = speed;
    }
    return best;
}

static void give_way(struct share *s, struct share_entry *body, struct share_entry *to) {
    s->promised = to;
    atomic_fetch_add_explicit(&s->gave_way, 1, memory_order_relaxed);
    s->cfg.give_way(body, s->cfg.arg);
    s->promised = NULL;
}

/* Makes a body give way to an entry that waits in this row. If no body can give way to a caller, its other entries are
 * skipped. */
static bool make_way(struct share *s, const struct row *waiters, int64_t patience_ms) {
    enum { CALLERS_MAX = 64 };
    const struct share_caller *in_vain = NULL;
    unsigned callers = 0;
    int64_t now = clock_mono_ms();
    for (struct share_entry *e = waiters->first; e && now - e->since_ms >= patience_ms && callers < CALLERS_MAX;
         e = e->row_next) {
        if (e->of == in_vain) continue;
        struct share_entry *body = who_gives_way(s, e->kind, e, now);
        if (body) {
            give_way(s, body, e);
            return true;
        }
        in_vain = e->of;
        callers++;
    }
    return false;
}

/* Bodies that have had their first turn count as begun: if there are too many of these, some give way before anybody
 * waits. */
static void keep_some_free(struct share *s, unsigned kind) {
    int64_t now = clock_mono_ms(), first_turn = first_turn_ms(s, kind);
    for (struct share_entry *e = s->bodies[kind].first; e; e = e->row_next) {
        if (e->begun || e->had_turn || now - e->since_ms < turn_ms(s, e, first_turn)) continue;
        e->had_turn = true;
        s->of_begun[kind]++;
    }
    while (is_crowded(s, kind) && s->of_begun[kind] > most_of_begun(s, kind)) {
        struct share_entry *body = who_gives_way(s, kind, NULL, now);
        if (!body) return;
        give_way(s, body, NULL);
    }
}

static void on_look(void *arg) {
    struct share *s = arg;
    s->looks = false;
    for (unsigned kind = 0; kind < SHARE_KINDS; kind++) {
        keep_some_free(s, kind);
        for (unsigned n = 0; n < s->cfg.places && make_way(s, &s->waiters[kind][false], LOOK_MS); n++) {}
        for (unsigned n = 0; n < s->cfg.places && make_way(s, &s->waiters[kind][true], s->cfg.later_turn_ms); n++) {}
    }
    look_later(s);
}

static void may_give_way(struct share *s, struct share_entry *e, bool flows) {
    if (!e->has_place) return;
    if (e->in_row) row_del(&s->bodies[e->kind], e);
    e->in_row = true;
    e->flows = flows;
    row_add(&s->bodies[e->kind], e);
    look_later(s);
}

void share_flows(struct share *s, struct share_entry *e) {
    if (!e->flows) may_give_way(s, e, true);
}

void share_asks(struct share *s, struct share_entry *e) {
    may_give_way(s, e, false);
}

/* --- for the owner --- */

static bool has_room(const struct share *s, const struct share_caller *c) {
    unsigned room = s->waiting_new < s->cfg.queue ? s->cfg.queue - s->waiting_new : 0;
    unsigned of_group = c->group->waiting_new;
    if (c->caller.client) room = of_group < room ? room - of_group : 0; /* a client leaves as much of its node's room */
    return c->waiting_new < s->cfg.queue_of_one && c->waiting_new < room;
}

static void note_who_asks(struct share *s, const struct caller *caller) {
    static const struct caller nobody;
    bool other = memcmp(&s->last_asked, caller, sizeof(*caller)) != 0;
    if (other && memcmp(&s->last_asked, &nobody, sizeof(nobody)) != 0) s->others_until_ms = clock_mono_ms() + OTHERS_MS;
    s->last_asked = *caller;
}

int share_enter(struct share *s, struct share_entry *e, const struct caller *caller, unsigned kind, bool begun) {
    assert(kind < SHARE_KINDS && !e->waits && !e->has_place);
    struct share_caller *c = caller_of(s, caller);
    note_who_asks(s, caller);
    e->kind = kind;
    e->begun = begun;
    queue_add(s, c, e);
    row_add(waiters_of(s, e), e);
    give(s);
    if (e->has_place || begun) return 0;
    queue_del(s, e); /* whether it would have fitted in is asked of the others alone */
    if (has_room(s, c)) {
        queue_add(s, c, e);
        show(s);
        return 0;
    }
    row_del(waiters_of(s, e), e);
    e->of = NULL;
    drop_idle(s, c);
    atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
    show(s);
    return ERR_BUSY;
}

void share_leave(struct share *s, struct share_entry *e) {
    struct share_caller *c = e->of;
    if (!c) return;
    if (s->promised == e) s->promised = NULL;
    if (e->waits) {
        queue_del(s, e);
        row_del(waiters_of(s, e), e);
    } else {
        if (e->in_row) row_del(&s->bodies[e->kind], e);
        c->held--;
        c->held_of_kind[e->kind]--;
        c->group->held--;
        s->taken--;
        s->of_kind[e->kind]--;
        s->of_begun[e->kind] -= e->begun || e->had_turn;
    }
    *e = (struct share_entry){0};
    drop_idle(s, c);
    give(s);
}

void share_move(struct share *s, struct share_entry *e, const struct caller *caller) {
    struct share_caller *from = e->of, *to;
    if (!e->waits || memcmp(&from->caller, caller, sizeof(*caller)) == 0) return;
    to = caller_of(s, caller);
    if (to->waiting + 1 < from->waiting || to->held < from->held) {
        queue_del(s, e);
        queue_add(s, to, e);
        drop_idle(s, from);
        give(s);
    } else {
        drop_idle(s, to);
    }
}

struct share *share_new(const struct share_config *cfg) {
    struct share *s = xcalloc(1, sizeof(*s));
    assert(cfg->places > 0);
    s->cfg = *cfg;
    if (s->cfg.later_turn_ms == 0) s->cfg.later_turn_ms = LATER_TURN_MS;
    s->callers = map_new(free);
    s->groups = map_new(free);
    if (cfg->loop) timer_init(&s->look, cfg->loop, on_look, s);
    return s;
}

void share_free(struct share *s) {
    if (!s) return;
    assert(s->taken == 0 && s->waiting == 0);
    if (s->cfg.loop) timer_fini(&s->look);
    map_free(s->callers);
    map_free(s->groups);
    free(s);
}

void share_close(struct share *s) {
    s->closed = true;
}

void share_stats(const struct share *s, struct share_stats *out) {
    *out = (struct share_stats){
        .places = s->cfg.places,
        .taken = atomic_load_explicit(&s->shown_taken, memory_order_relaxed),
        .waiting = atomic_load_explicit(&s->shown_waiting, memory_order_relaxed),
        .callers = atomic_load_explicit(&s->shown_callers, memory_order_relaxed),
        .refused = atomic_load_explicit(&s->refused, memory_order_relaxed),
        .gave_way = atomic_load_explicit(&s->gave_way, memory_order_relaxed),
    };
}
