/* Ranged fetches beside a fill's main one, for readers whose range lies far ahead of it (lazy-pulling snapshotters).
 * They fetch whole pieces into a file of their own, one place after the other, so that the part file is written from
 * its start to its end and nothing else: what is ahead may be lost with the process. A piece that has come is readable
 * at once, but only as a part: it is proved by the catalogue's word at best. When the main fetch gets there, it is
 * not fetched again but copied, and hashed, as if a source had sent it. Thread: the fill's fetch loop, but for
 * aside_find.
 *
 * A place is written once: readers may be sending from it for as long as the fill lives. */
#include "common/fill/fill_private.h"
#include "common/core/alloc.h"
#include "common/store/part.h"

#include <assert.h>
#include <string.h>

/* Seconds: a reader is far ahead if the main fetch needs longer to get there. */
#define FAR_SECONDS 2
/* Of one fill, 512 MiB; then readers wait for the main fetch. */
#define PLACES_MAX 128
/* A source that sends nothing for this long is left if there is another. */
#define STALL_MS 3000

struct aside {
    struct fill *fill;
    struct aside *next;
    struct fetch *fetch;
    const char *origin; /* fetch_head.origin */
    struct stretch stretch;
    int64_t at, seen_at, still_ms; /* where it was a tick ago; nothing has come for so long */
    unsigned place;                /* of the current piece */
    struct hasher hasher;
    bool checking; /* the current piece has a proof */
};

/* Made once a fill; readers find it by fill.aside_file. */
struct aside_file {
    struct part *part; /* fetch loop; NULL: the fill is over */
    struct open_file *file;
    unsigned used;                      /* fetch loop: places given out */
    _Atomic int64_t pieces[PLACES_MAX]; /* which is where; -1 none */
};

static struct aside_file *file_of(const struct fill *f) {
    return atomic_load_explicit(&f->aside.file, memory_order_acquire);
}

static int place_of(const struct aside_file *af, int64_t piece) {
    for (int i = 0; af && i < PLACES_MAX; i++) {
        if (atomic_load_explicit(&af->pieces[i], memory_order_acquire) == piece) return i;
    }
    return -1;
}

int64_t aside_run(const struct fill *f, int64_t piece) {
    int64_t n = 0;
    while (place_of(file_of(f), piece + n) >= 0)
        n++;
    return n;
}

int64_t aside_find(const struct fill *f, int64_t pos, struct open_file **file, int64_t *at) {
    struct aside_file *af = file_of(f);
    int place = place_of(af, pos / PIECE_SIZE);
    if (place < 0) return 0;
    int64_t size = shared_size(&f->shared), end = piece_end(pos);
    if (end > size) end = size;
    if (end <= pos) return 0;
    *file = open_file_ref(af->file);
    *at = place * PIECE_SIZE + pos % PIECE_SIZE;
    return end - pos;
}

static void aside_free(struct aside *a) {
    for (struct aside **link = &a->fill->aside.first; *link; link = &(*link)->next) {
        if (*link != a) continue;
        *link = a->next;
        a->fill->aside.n--;
        break;
    }
    if (a->fetch) fetch_cancel(a->fetch);
    free(a);
}

static void cancel_all(struct fill *f) {
    while (f->aside.first)
        aside_free(f->aside.first);
}

void aside_forget(struct fill *f) {
    cancel_all(f);
    struct aside_file *af = file_of(f);
    for (int i = 0; af && i < PLACES_MAX; i++)
        atomic_store_explicit(&af->pieces[i], -1, memory_order_release);
}

void aside_over(struct fill *f) {
    cancel_all(f);
    struct aside_file *af = file_of(f);
    if (af && af->part) part_discard(af->part);
    if (af) af->part = NULL;
}

void aside_fini(struct fill *f) {
    struct aside_file *af = file_of(f);
    if (!af) return;
    open_file_unref(af->file);
    free(af);
}

static void failed(struct aside *a) {
    plan_stretch_failed(a->fill, &a->stretch);
    aside_free(a);
}

/* Begins the piece at a->at: a place for it, and its check if the catalogue has told its chaining values. */
static bool start_piece(struct aside *a) {
    struct fill *f = a->fill;
    struct aside_file *af = file_of(f);
    if (af->used == PLACES_MAX) return false;
    a->place = af->used++;
    a->checking = check_piece_begin(f, (size_t)(a->at / PIECE_SIZE), &a->hasher);
    return true;
}

static void on_head(struct fetch *fetch, const struct fetch_head *h, void *arg) {
    (void)fetch;
    struct aside *a = arg;
    a->origin = h->origin;
    int64_t size = shared_size(&a->fill->shared);
    if (h->total >= 0 && h->total != size) failed(a);
}

static void on_data(struct fetch *fetch, const void *data, size_t len, void *arg) {
    struct aside *a = arg;
    struct fill *f = a->fill;
    const struct fill_engine_config *cfg = &f->engine->cfg;
    if (cfg->received) cfg->received(fetch->source->name, (int64_t)len, cfg->arg);
    const char *p = data;
    int64_t size = shared_size(&f->shared);
    /* The main fetch has got into this piece, or the source sends more than was asked for. */
    if (intake_taken(f) > piece_start(a->at) || a->at + (int64_t)len > a->stretch.to) {
        aside_free(a);
        return;
    }
    while (len) {
        if (a->at % PIECE_SIZE == 0 && !start_piece(a)) {
            aside_free(a);
            return;
        }
        struct aside_file *af = file_of(f);
        int64_t room = piece_end(a->at) - a->at;
        size_t n = (int64_t)len < room ? len : (size_t)room;
        if (part_write(af->part, a->place * PIECE_SIZE + a->at % PIECE_SIZE, p, n) < 0) {
            failed(a);
            return;
        }
        if (a->checking) hasher_update(&a->hasher, p, n);
        a->at += (int64_t)n;
        p += n;
        len -= n;
        if (a->at % PIECE_SIZE != 0 && a->at != size) continue;
        int64_t piece = (a->at - 1) / PIECE_SIZE;
        if (a->checking && a->at % PIECE_SIZE == 0 && !check_piece_fits(f, (size_t)piece, &a->hasher)) {
            f->aside.disproved = true;
            plan_avoid(f, a->origin);
            failed(a);
            return;
        }
        atomic_store_explicit(&af->pieces[a->place], piece, memory_order_release);
        fill_notify_readers(f);
    }
}

static void on_done(struct fetch *fetch, const struct fetch_end *e, void *arg) {
    (void)fetch;
    struct aside *a = arg;
    a->fetch = NULL;
    if (e->gave_way || (e->code == 0 && a->at == a->stretch.to))
        aside_free(a); /* a reader that still needs it has it asked for again */
    else
        failed(a); /* no loss: the main fetch gets there in time */
}

static const struct fetch_events aside_events = {.head = on_head, .data = on_data, .done = on_done};

static bool under_way(const struct fill *f, int64_t pos) {
    for (const struct aside *a = f->aside.first; a; a = a->next) {
        if (pos >= a->stretch.from && pos < a->stretch.to) return true;
    }
    return false;
}

static void aside_start(struct fill *f, const struct stretch *st, const struct fill_spec *by) {
    struct aside *a = xcalloc(1, sizeof(*a));
    *a = (struct aside){.fill = f, .next = f->aside.first, .stretch = *st, .at = st->from};
    f->aside.first = a;
    f->aside.n++;
    a->fetch = plan_ask(f, st, by, f->aside.disproved, &aside_events, a);
}

/* True if there is room for at least one piece more. */
static bool have_room(struct fill *f) {
    struct aside_file *af = file_of(f);
    if (af) return af->used < PLACES_MAX;
    struct error err = {0};
    struct part *part;
    if (part_new_temp(f->engine->cfg.store, &f->spec.digest, &part, &err) < 0) {
        log_warn("no_fetch_ahead", KV_S("why", err.msg), KV_S("request_id", f->spec.request_id));
        f->aside.no_room = true;
        return false;
    }
    af = calloc(1, sizeof(*af));
    if (!af) abort();
    af->part = part;
    af->file = part_file(part);
    for (int i = 0; i < PLACES_MAX; i++)
        atomic_init(&af->pieces[i], -1);
    atomic_store_explicit(&f->aside.file, af, memory_order_release);
    return true;
}

static void leave_stalled(struct fill *f, int64_t ms) {
    for (struct aside *a = f->aside.first, *next; a; a = next) {
        next = a->next;
        a->still_ms = a->at > a->seen_at ? 0 : a->still_ms + ms;
        a->seen_at = a->at;
        if (a->still_ms >= STALL_MS && plan_has_another(f, &a->stretch)) failed(a);
    }
}

/* Called a few times a second: which readers wait for bytes that are a long way off? Where the last piece ends must be
 * known, not only claimed. */
void aside_consider(struct fill *f, int64_t rate, int64_t ms) {
    int64_t size = shared_size(&f->shared);
    if (size < 0 || shared_size_is_claimed(&f->shared) || f->spec.manifest || f->aside.no_room ||
        fill_bytes_in_window(f))
        return;
    leave_stalled(f, ms);
    for (struct fill_reader *r = fill_first_reader(f); r && f->aside.n < FILL_ASIDE_MAX; r = r->next) {
        int64_t pos = atomic_load_explicit(&r->consumed, memory_order_relaxed);
        int64_t end = atomic_load_explicit(&r->until, memory_order_relaxed);
        if (end == INT64_MAX) continue; /* it could be handed nothing of it */
        if (end > size) end = size;
        if (pos >= end || end - pos > FILL_ASIDE_BYTES) continue;
        int64_t distance = pos - intake_taken(f);
        if (distance < 2 * PIECE_SIZE || distance < rate * FAR_SECONDS) continue;
        int64_t piece = pos / PIECE_SIZE, start = (piece + aside_run(f, piece)) * PIECE_SIZE;
        if (start >= end || under_way(f, start)) continue;
        int64_t stop = piece_end(end - 1);
        struct stretch st;
        if (!plan_stretch_ahead(f, start, stop > size ? size : stop, &st) || !have_room(f)) return;
        aside_start(f, &st, &r->spec);
    }
}
