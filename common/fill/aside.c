/* What is fetched ahead of its turn, for readers whose range lies far ahead of what is written (lazy-pulling
 * snapshotters): whole pieces in a file of their own, one place after the other, so that the part file is written from
 * its start to its end and nothing else; what is ahead may be lost with the process. A piece that has come is readable
 * at once, but only as a part: it is proved by the catalogue's proofs at best. When its turn comes it is not fetched
 * again but copied, and hashed, as if a source had sent it (plan.c). Thread: the fill's fetch loop, but for aside_find.
 *
 * A place is written once: readers may be sending from it for as long as the fill lives. */
#include "common/fill/fill_private.h"
#include "common/core/alloc.h"
#include "common/store/part.h"

#include <assert.h>

/* Of one fill, 512 MiB; then readers wait for their turn. */
#define PLACES_MAX 128

/* Made once a fill; readers find it by fill.aside.file. */
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

void aside_forget(struct fill *f) {
    struct aside_file *af = file_of(f);
    for (int i = 0; af && i < PLACES_MAX; i++)
        atomic_store_explicit(&af->pieces[i], -1, memory_order_release);
}

void aside_over(struct fill *f) {
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

bool aside_has_room(struct fill *f) {
    struct aside_file *af = file_of(f);
    if (af) return af->used < PLACES_MAX;
    if (f->aside.no_room) return false;
    struct error err = {0};
    struct part *part;
    if (part_new_temp(f->engine->cfg.store, &f->spec.digest, &part, &err) < 0) {
        log_warn("no_fetch_ahead", KV_S("why", err.msg), KV_S("request_id", f->spec.request_id));
        f->aside.no_room = true;
        return false;
    }
    af = xcalloc(1, sizeof(*af));
    af->part = part;
    af->file = part_file(part);
    for (int i = 0; i < PLACES_MAX; i++)
        atomic_init(&af->pieces[i], -1);
    atomic_store_explicit(&f->aside.file, af, memory_order_release);
    return true;
}

/* Begins the piece at a->at: a place for it, and its check if the catalogue has told its chaining values. */
static bool begin_piece(struct fill *f, struct aside_at *a) {
    struct aside_file *af = file_of(f);
    if (af->used == PLACES_MAX) return false;
    a->place = af->used++;
    a->checking = check_piece_begin(f, (size_t)(a->at / PIECE_SIZE), &a->hasher);
    return true;
}

/* A piece has come to its end at a->at. */
static enum aside_taken end_piece(struct fill *f, struct aside_at *a) {
    int64_t piece = (a->at - 1) / PIECE_SIZE;
    if (a->checking && a->at % PIECE_SIZE == 0 && !check_piece_fits(f, (size_t)piece, &a->hasher)) return ASIDE_WRONG;
    atomic_store_explicit(&file_of(f)->pieces[a->place], piece, memory_order_release);
    fill_notify_readers(f);
    return ASIDE_TAKEN;
}

enum aside_taken aside_take(struct fill *f, struct aside_at *a, const void *data, size_t len) {
    const char *p = data;
    int64_t size = shared_size(&f->shared);
    while (len) {
        if (a->at % PIECE_SIZE == 0 && !begin_piece(f, a)) return ASIDE_NO_ROOM;
        int64_t room = piece_end(a->at) - a->at;
        size_t n = (int64_t)len < room ? len : (size_t)room;
        if (part_write(file_of(f)->part, a->place * PIECE_SIZE + a->at % PIECE_SIZE, p, n) < 0) return ASIDE_FAILED;
        if (a->checking) hasher_update(&a->hasher, p, n);
        a->at += (int64_t)n;
        p += n;
        len -= n;
        bool is_over = a->at % PIECE_SIZE == 0 || a->at == size;
        enum aside_taken taken = is_over ? end_piece(f, a) : ASIDE_TAKEN;
        if (taken != ASIDE_TAKEN) return taken;
    }
    return ASIDE_TAKEN;
}
