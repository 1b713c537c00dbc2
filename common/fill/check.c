/* The running hash of a fill and the proof of each piece. What is written waits in blocks and is hashed, in order, by a
 * thread beside the fetch loop, so that the next bytes are received and written meanwhile; a little is hashed in place,
 * as that is done sooner than handed over. Thread: fetch loop, but for `run`.
 *
 * A stretch at the hasher has a copy of the running hash: whatever happens to the fill meanwhile, its result is taken
 * if nothing was taken back since, else dropped. */
#include "common/fill/fill_private.h"

#include <assert.h>
#include <string.h>

/* 40 us of hashing: what two threads lose with a hand-over. */
#define IN_PLACE_MAX (64 * KiB)

/* Our own chaining value at a piece's end; false if the catalogue's differs. */
static bool piece_fits(struct fill *f) {
    size_t len = digest_len(f->spec.digest.alg);
    if (f->n_proofs == f->cap_proofs) {
        f->cap_proofs = f->cap_proofs ? f->cap_proofs * 2 : 16;
        f->proofs = realloc(f->proofs, f->cap_proofs * len);
        if (!f->proofs) abort();
    }
    uint8_t proof[PIECE_PROOF_MAX];
    hasher_proof(&f->hasher, proof);
    memcpy(f->proofs + f->n_proofs * len, proof, len);
    size_t piece = f->n_proofs++;
    if (piece >= f->n_advised) return true;
    if (memcmp(f->advised + piece * len, proof, len) != 0) {
        f->n_proofs--;
        return false;
    }
    int64_t end = ((int64_t)piece + 1) * PIECE_SIZE;
    if (atomic_load_explicit(&f->proven, memory_order_relaxed) < end) {
        atomic_store_explicit(&f->proven, end, memory_order_release);
    }
    fill_publish(f);
    return true;
}

/* `hashed` has grown, perhaps to the end of a piece. */
static bool piece_over(struct fill *f) {
    if (f->hashed % PIECE_SIZE != 0) return true;
    /* The last piece has no proof but the digest itself. */
    if (f->hashed == atomic_load_explicit(&f->size, memory_order_relaxed)) return true;
    if (piece_fits(f)) return true;
    fill_rewind(f, f->hashed - PIECE_SIZE);
    fill_source_lied(f, "a piece that does not match the catalogue");
    return false;
}

bool check_in_place(struct fill *f, const void *data, size_t len) {
    hasher_update(&f->hasher, data, len);
    f->hashed += (int64_t)len;
    return piece_over(f);
}

/* --- at the hasher --- */

static void run(struct work *w) {
    struct check *c = container_of(w, struct check, work);
    for (const struct block *b = c->blocks; b; b = b->next)
        hasher_update(&c->hasher, b->data, b->len);
    loop_post(container_of(c, struct fill, check)->loop, &c->done);
}

/* The result of what runs is still wanted. */
static bool is_busy(const struct fill *f) {
    return f->check.running && f->check.generation == f->generation;
}

static struct block *take_waiting(struct fill *f) {
    struct block *b = f->waiting;
    f->waiting = b->next;
    if (!f->waiting) f->waits = &f->waiting;
    f->n_waiting--;
    b->next = NULL;
    return b;
}

static void on_checked(struct loop_task *task);

/* All that waits, up to the end of the piece, where the chaining value is needed. */
static void start(struct fill *f) {
    struct check *c = &f->check;
    struct block **last = &c->blocks;
    c->running = true;
    c->generation = f->generation;
    c->hasher = f->hasher;
    c->len = 0;
    c->work.fn = run;
    c->done.fn = on_checked;
    do {
        *last = take_waiting(f);
        c->len += (int64_t)(*last)->len;
        last = &(*last)->next;
    } while (f->waiting && (f->hashed + c->len) % PIECE_SIZE != 0);
    fill_shard(f)->n_checks++;
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    workpool_submit(f->engine->hashers, &c->work);
}

static bool better_in_place(struct fill *f) {
    return f->step == STEP_CHECKING || f->check.running ||
           (f->n_waiting == 1 && (int64_t)f->waiting->len <= IN_PLACE_MAX) || fill_shard(f)->n_blocks > FILL_BLOCKS_ALL;
}

bool check_waiting(struct fill *f) {
    while (f->waiting) {
        if (is_busy(f)) return true;
        if (!better_in_place(f)) {
            start(f);
            return true;
        }
        struct block *b = take_waiting(f);
        hasher_update(&f->hasher, b->data, b->len);
        f->hashed += (int64_t)b->len;
        block_free(f, b);
        if (!piece_over(f)) return false;
    }
    return true;
}

/* In STEP_CHECKING: goes on if everything is hashed. */
static void go_on(struct fill *f) {
    if (is_busy(f) || f->waiting) return;
    assert(f->hashed == f->written && f->taken == f->written);
    f->then(f);
}

static void on_checked(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, check.done);
    struct fill_shard *sh = fill_shard(f);
    struct check *c = &f->check;
    bool wanted = is_busy(f) && f->step != STEP_OVER, same = true;
    c->running = false;
    sh->n_checks--;
    for (struct block *b; (b = c->blocks);) {
        c->blocks = b->next;
        block_free(f, b);
    }
    if (wanted) {
        f->hasher = c->hasher;
        f->hashed += c->len;
        same = piece_over(f);
    }
    if (same && f->step != STEP_OVER) same = check_waiting(f);
    if (same && f->step == STEP_CHECKING)
        go_on(f);
    else if (same && f->step == STEP_FETCHING)
        fill_hold_back(f);
    fill_unref(f);
    fill_shard_check_stopped(sh);
}

void check_then(struct fill *f, void (*then)(struct fill *f)) {
    f->step = STEP_CHECKING;
    f->then = then;
    if (check_waiting(f)) go_on(f);
}

/* --- the catalogue's word, and taking back --- */

void check_against_advice(struct fill *f) {
    size_t len = digest_len(f->spec.digest.alg);
    size_t n = f->n_proofs < f->n_advised ? f->n_proofs : f->n_advised;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(f->proofs + i * len, f->advised + i * len, len) == 0) {
            int64_t end = ((int64_t)i + 1) * PIECE_SIZE;
            if (end > atomic_load_explicit(&f->proven, memory_order_relaxed)) {
                atomic_store_explicit(&f->proven, end, memory_order_release);
            }
            continue;
        }
        fill_rewind(f, (int64_t)i * PIECE_SIZE);
        if (f->step == STEP_FETCHING || f->step == STEP_CHECKING) {
            fill_source_lied(f, "a piece that does not match the catalogue");
        }
        return;
    }
    fill_notify_readers(f);
}

void fill_rewind(struct fill *f, int64_t to) {
    assert(to % PIECE_SIZE == 0 && to <= f->hashed);
    log_warn("fill_takes_back", KV_I("from", to), KV_I("written", f->written),
             KV_S("source", atomic_load(&f->source_name)), KV_S("request_id", f->spec.request_id));
    if (to < atomic_load_explicit(&f->rewind_floor, memory_order_relaxed)) {
        atomic_store_explicit(&f->rewind_floor, to, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&f->rewinds, 1, memory_order_release);
    f->generation++;
    f->written = f->hashed = to;
    intake_drop(f);
    atomic_store_explicit(&f->visible, to, memory_order_release);
    if (atomic_load_explicit(&f->proven, memory_order_relaxed) > to) {
        atomic_store_explicit(&f->proven, to, memory_order_release);
    }
    aside_forget(f);
    fill_bytes_truncate(f, to);
    size_t piece = (size_t)(to / PIECE_SIZE), len = digest_len(f->spec.digest.alg);
    if (f->n_proofs > piece) f->n_proofs = piece;
    if (piece == 0)
        hasher_init(&f->hasher, f->spec.digest.alg);
    else
        hasher_resume(&f->hasher, f->spec.digest.alg, (uint64_t)to, f->proofs + (piece - 1) * len);
    fill_notify_readers(f);
}
