/* Ranged fetches beside a fill's main one, for readers whose range lies far ahead of it (lazy-pulling snapshotters).
 * They fetch whole pieces; a piece that has come is marked in aside_bits, is readable at once, and is not fetched again
 * when the main fetch gets there. Thread: the fill's fetch loop, but for aside_visible. */
#include "common/fill/fill_private.h"

#include <assert.h>
#include <string.h>

/* A reader is far ahead if the main fetch needs longer than this to get there. */
#define FAR_SECONDS 2
/* Larger blobs than this get no bitmap: a hostile length must not cost memory. */
#define ASIDE_BLOB_MAX (1024 * GiB)
/* With so many wrong pieces it may be the catalogue that is wrong: the main fetch will find out. */
#define ASIDE_LIES_MAX 3

struct aside {
    struct fill *fill;
    struct aside *next;
    struct fetch *fetch;
    const char *origin; /* fetch_head.origin */
    int64_t start, end, at;
    struct hasher hasher; /* of the current piece, when its proofs are known */
    bool checking;
};

static int64_t pieces_of(int64_t size) {
    return (size + PIECE_SIZE - 1) / PIECE_SIZE;
}

/* Made once: the size may change after that, this does not. */
struct piece_map {
    int64_t n;
    _Atomic uint64_t bits[];
};

static struct piece_map *map_of(const struct fill *f) {
    return atomic_load_explicit(&f->aside_pieces, memory_order_acquire);
}

static size_t words_of(int64_t pieces) {
    return (size_t)((pieces + 63) / 64);
}

static bool has_piece(const struct fill *f, int64_t piece) {
    struct piece_map *map = map_of(f);
    if (!map || piece >= map->n) return false;
    return atomic_load_explicit(&map->bits[piece / 64], memory_order_acquire) >> (piece % 64) & 1;
}

int64_t aside_run(const struct fill *f, int64_t piece) {
    int64_t n = 0;
    while (has_piece(f, piece + n))
        n++;
    return n;
}

int64_t aside_visible(const struct fill *f, int64_t pos, bool last_too) {
    int64_t n = aside_run(f, pos / PIECE_SIZE);
    if (n == 0) return 0;
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    int64_t end = (pos / PIECE_SIZE + n) * PIECE_SIZE, limit = last_too || size <= 0 ? size : piece_start(size - 1);
    if (end > limit) end = limit;
    return end > pos ? end - pos : 0;
}

void aside_forget(struct fill *f) {
    aside_cancel_all(f);
    struct piece_map *map = map_of(f);
    for (size_t i = 0; map && i < words_of(map->n); i++)
        atomic_store_explicit(&map->bits[i], 0, memory_order_release);
}

static void aside_free(struct aside *a) {
    for (struct aside **link = &a->fill->asides; *link; link = &(*link)->next) {
        if (*link != a) continue;
        *link = a->next;
        a->fill->n_asides--;
        break;
    }
    if (a->fetch) fetch_cancel(a->fetch);
    free(a);
}

void aside_cancel_all(struct fill *f) {
    while (f->asides)
        aside_free(f->asides);
}

/* Begins to check the piece at a->at, if the catalogue has told its chaining values. */
static void start_piece(struct aside *a) {
    struct fill *f = a->fill;
    size_t piece = (size_t)(a->at / PIECE_SIZE), len = digest_len(f->spec.digest.alg);
    a->checking = piece < f->n_advised;
    if (!a->checking) return;
    if (piece == 0)
        hasher_init(&a->hasher, f->spec.digest.alg);
    else
        hasher_resume(&a->hasher, f->spec.digest.alg, (uint64_t)a->at, f->advised + (piece - 1) * len);
}

static bool piece_fits(struct aside *a, int64_t piece) {
    struct fill *f = a->fill;
    if (!a->checking) return true;
    size_t len = digest_len(f->spec.digest.alg);
    uint8_t proof[PIECE_PROOF_MAX];
    hasher_proof(&a->hasher, proof);
    return memcmp(proof, f->advised + (size_t)piece * len, len) == 0;
}

static void piece_done(struct fill *f, int64_t piece) {
    struct piece_map *map = map_of(f);
    if (piece >= map->n) return;
    atomic_fetch_or_explicit(&map->bits[piece / 64], (uint64_t)1 << (piece % 64), memory_order_release);
    fill_notify_readers(f);
}

static void on_head(struct fetch *fetch, const struct fetch_head *h, void *arg) {
    (void)fetch;
    struct aside *a = arg;
    a->origin = h->origin;
    int64_t size = atomic_load_explicit(&a->fill->size, memory_order_relaxed);
    if (h->total >= 0 && h->total != size) aside_free(a);
}

static void on_data(struct fetch *fetch, const void *data, size_t len, void *arg) {
    struct aside *a = arg;
    struct fill *f = a->fill;
    const struct fill_engine_config *cfg = &f->engine->cfg;
    if (cfg->received) cfg->received(fetch->source->name, (int64_t)len, cfg->arg);
    const char *p = data;
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    /* The main fetch has got into this piece: what it writes is what is hashed, and our proof would not be of it. */
    bool passed = f->taken > piece_start(a->at);
    if (passed || a->at + (int64_t)len > a->end || atomic_load_explicit(&f->window, memory_order_relaxed)) {
        aside_free(a);
        return;
    }
    while (len) {
        if (a->at % PIECE_SIZE == 0) start_piece(a);
        int64_t room = piece_end(a->at) - a->at;
        size_t n = (int64_t)len < room ? len : (size_t)room;
        if (fill_bytes_write(f, a->at, p, n) < 0) {
            aside_free(a);
            return;
        }
        if (a->checking) hasher_update(&a->hasher, p, n);
        a->at += (int64_t)n;
        p += n;
        len -= n;
        if (a->at % PIECE_SIZE != 0 && a->at != size) continue;
        int64_t piece = (a->at - 1) / PIECE_SIZE;
        if (a->at % PIECE_SIZE == 0 && !piece_fits(a, piece)) {
            f->aside_lies++;
            f->liar = a->origin;
            aside_free(a);
            return;
        }
        piece_done(f, piece);
    }
}

static void on_done(struct fetch *fetch, const struct fetch_end *e, void *arg) {
    (void)fetch;
    (void)e; /* a failure costs nothing: the main fetch gets there in time */
    struct aside *a = arg;
    a->fetch = NULL;
    aside_free(a);
}

static const struct fetch_events aside_events = {.head = on_head, .data = on_data, .done = on_done};

static bool under_way(const struct fill *f, int64_t pos) {
    for (const struct aside *a = f->asides; a; a = a->next) {
        if (pos >= a->start && pos < a->end) return true;
    }
    return false;
}

static void aside_start(struct fill *f, int64_t start, int64_t end, const char *request_id) {
    struct aside *a = calloc(1, sizeof(*a));
    if (!a) abort();
    *a = (struct aside){.fill = f, .next = f->asides, .start = start, .end = end, .at = start};
    f->asides = a;
    f->n_asides++;
    struct fetch_request rq = {
        .kind = FETCH_BLOB,
        .repo = f->spec.repo,
        .ref = {.is_digest = true, .digest = f->spec.digest},
        .offset = start,
        .length = end - start,
        .liar = f->liar,
        .doubted = f->lies[f->source] > 0 || f->aside_lies > 0,
    };
    f->liar = NULL;
    memcpy(rq.request_id, request_id, sizeof(rq.request_id));
    a->fetch = fetch_start(f->sources[f->source], &rq, &aside_events, a);
}

/* The first of a fill: false if this one can have none. */
static bool prepare(struct fill *f, int64_t size) {
    if (map_of(f)) return true;
    /* After a crash the file must tell what came in order from what lies beyond it. */
    if (!f->part || !part_goes_ahead(f->part)) return false;
    struct piece_map *map = calloc(1, sizeof(*map) + words_of(pieces_of(size)) * sizeof(map->bits[0]));
    if (!map) abort();
    map->n = pieces_of(size);
    atomic_store_explicit(&f->aside_pieces, map, memory_order_release);
    return true;
}

/* Called a few times a second: which readers wait for bytes that are a long way off? Where the last piece ends must be
 * known, not only claimed. */
void aside_consider(struct fill *f) {
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (size < 0 || f->claimed || size > ASIDE_BLOB_MAX || atomic_load_explicit(&f->window, memory_order_relaxed) ||
        f->spec.manifest || f->aside_lies >= ASIDE_LIES_MAX)
        return;
    for (struct fill_reader *r = f->readers.first; r && f->n_asides < FILL_ASIDE_MAX; r = r->next) {
        int64_t pos = atomic_load_explicit(&r->consumed, memory_order_relaxed), end = r->spec.end;
        if (pos < r->spec.start) pos = r->spec.start;
        if (end <= 0 || end > size) end = size;
        if (pos >= end || end - r->spec.start > FILL_ASIDE_BYTES) continue;
        int64_t distance = pos - f->taken;
        if (distance < 2 * PIECE_SIZE || distance < f->rate * FAR_SECONDS) continue;
        int64_t piece = pos / PIECE_SIZE;
        while (has_piece(f, piece))
            piece++;
        int64_t start = piece * PIECE_SIZE;
        if (start >= end || under_way(f, start)) continue;
        int64_t stop = pieces_of(end) * PIECE_SIZE;
        if (!prepare(f, size)) return;
        aside_start(f, start, stop > size ? size : stop, r->spec.request_id);
    }
}
