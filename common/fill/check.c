/* The running hash of a fill and the proof of each piece. What is written is hashed, in order, by a thread beside the
 * fetch loop, so that the next bytes are received and written meanwhile. It copies them out of the page cache,
 * which takes a tenth of its time. (Mapping them saves that on some machines, but faults cost more than the hash itself
 * where a hypervisor keeps the page tables. Handing it the memory they came in costs more, too: it would come back from
 * another core's cache, and there had to be a bound for it.) Thread: fetch loop, but for `hash_to_goal`.
 *
 * The hasher has a copy of the running hash and follows what is written until there is no more, or for CHECK_PIECES
 * pieces. The loop takes over what it has got to whenever it writes, and at the end; whatever happens to the fill
 * meanwhile: if anything was taken back since it began, all it brings is dropped. */
#include "common/fill/fill_private.h"

#include "common/core/alloc.h"

#include <assert.h>
#include <string.h>

/* At a time: stays in the second-level cache. */
#define READ_BYTES (64 * KiB)
/* Bytes that are worth waking the hasher: 0.7 ms of hashing, while waking each other takes some 20 us. */
#define STRETCH_MIN (1 * MiB)
/* The end of a fetch, if shorter than this, is hashed in less time than it takes to hand it over. */
#define IN_PLACE_MAX (32 * KiB)

void check_init(struct fill *f) {
    f->check.disproved = -1;
    hasher_init(&f->check.hasher, f->spec.digest.alg);
}

void check_fini(struct fill *f) {
    free(f->check.proofs);
    free(f->check.advised);
}

int64_t check_hashed(const struct fill *f) {
    return f->check.hashed;
}

/* If the catalogue knows the pieces, nothing after the piece that is being checked is shown. Of what an earlier fill
 * left, nothing unchecked is shown. And if several readers follow, nothing is shown that is not hashed yet: should the
 * disk not give it back to the hasher, they would all be cut. */
int64_t check_shows_below(const struct fill *f) {
    if (f->check.reopened || fill_is_shared(f)) return f->check.hashed;
    return f->check.n_advised ? piece_end(f->check.hashed) : INT64_MAX;
}

const uint8_t *check_proofs(const struct fill *f) {
    return f->check.proofs;
}

void check_reopens(struct fill *f, bool reopened) {
    f->check.reopened = reopened;
}

bool check_is_reopened(const struct fill *f) {
    return f->check.reopened;
}

/* --- the proof of each piece --- */

static void piece_is_proven(struct fill *f, size_t piece) {
    shared_prove(&f->shared, ((int64_t)piece + 1) * PIECE_SIZE);
}

/* A piece differs from the catalogue's proof. If the same bytes came the last time, the catalogue is wrong: its proofs
 * are ignored from now on, and the digest decides. */
static bool is_disproved(struct fill *f, size_t piece, const uint8_t *proof) {
    size_t len = digest_len(f->spec.digest.alg);
    bool again = f->check.disproved == (int64_t)piece && memcmp(f->check.disproof, proof, len) == 0;
    f->check.disproved = (int64_t)piece;
    memcpy(f->check.disproof, proof, len);
    if (!again) return true;
    log_warn("catalog_proofs_ignored", KV_I("piece", (int64_t)piece), KV_S("request_id", f->spec.request_id));
    f->check.n_advised = 0;
    return false;
}

/* Our own chaining value at a piece's end; false if the catalogue's differs. */
static bool piece_fits(struct fill *f, const uint8_t *proof) {
    size_t len = digest_len(f->spec.digest.alg);
    if (f->check.n_proofs == f->check.cap_proofs) {
        f->check.cap_proofs = f->check.cap_proofs ? f->check.cap_proofs * 2 : 16;
        f->check.proofs = xrealloc(f->check.proofs, f->check.cap_proofs, len);
    }
    memcpy(f->check.proofs + f->check.n_proofs * len, proof, len);
    size_t piece = f->check.n_proofs++;
    if (piece >= f->check.n_advised) return true;
    if (memcmp(f->check.advised + piece * len, proof, len) != 0) {
        if (!is_disproved(f, piece, proof)) return true;
        f->check.n_proofs--;
        return false;
    }
    piece_is_proven(f, piece);
    fill_publish(f);
    return true;
}

/* `hashed` has got to the end of a piece, where the chaining value is `proof`. */
static enum fill_step piece_over(struct fill *f, const uint8_t *proof) {
    /* The last piece has no proof but the digest itself. */
    if (f->check.hashed == shared_size(&f->shared) || piece_fits(f, proof)) return STEP_STAY;
    fill_rewind(f, f->check.hashed - PIECE_SIZE);
    return plan_source_was_wrong(f, "a piece that does not match the catalogue");
}

/* Bytes that follow `hashed` and are in the file already. */
static enum fill_step check_in_place(struct fill *f, const void *data, size_t len) {
    hasher_update(&f->check.hasher, data, len);
    f->check.hashed += (int64_t)len;
    if (f->check.hashed % PIECE_SIZE != 0) return STEP_STAY;
    uint8_t proof[PIECE_PROOF_MAX];
    hasher_proof(&f->check.hasher, proof);
    return piece_over(f, proof);
}

/* --- at the hasher --- */

/* Hashes from `at` on what is there. Returns the new `at`. */
static int64_t hash_some(struct fill *f, int64_t at, int64_t to) {
    static _Thread_local char chunk[READ_BYTES];
    struct check_run *c = &f->check.run;
    while (at < to) {
        size_t n = to - at < READ_BYTES ? (size_t)(to - at) : READ_BYTES;
        c->code = fill_bytes_read(f, at, chunk, n);
        if (c->code < 0) break;
        hasher_update(&c->hasher, chunk, n);
        at += (int64_t)n;
    }
    return at;
}

/* Where the proof of the piece that ends there is kept. */
static uint8_t *proof_at(struct fill *f, int64_t end) {
    int64_t piece = end / PIECE_SIZE - f->check.run.from / PIECE_SIZE - 1;
    return f->check.run.proofs + (size_t)piece * digest_len(f->spec.digest.alg);
}

/* Work pool. Hashes all that has come, also what comes meanwhile, so that the loop, which may be busy receiving, need
 * not start it again. */
static void hash_to_goal(struct work *w) {
    struct check_run *c = container_of(w, struct check_run, work);
    struct fill *f = container_of(c, struct fill, check.run);
    int64_t at = c->from, last = piece_start(c->from) + CHECK_PIECES * PIECE_SIZE;
    while (at < last) {
        int64_t end = piece_end(at), goal = atomic_load_explicit(&c->goal, memory_order_acquire);
        if (at == goal) break;
        at = hash_some(f, at, goal < end ? goal : end);
        if (at == end) hasher_proof(&c->hasher, proof_at(f, end));
        atomic_store_explicit(&c->reached, at, memory_order_release);
        if (c->code < 0) break;
    }
    loop_post(f->loop, &c->done);
}

/* The result of what runs is still wanted. */
static bool is_busy(const struct fill *f) {
    return f->check.run.running && f->check.run.generation == f->check.generation;
}

/* In STEP_CHECKING: what follows if everything is hashed, and the running hash is back from the hasher. */
static enum fill_step after(const struct fill *f) {
    return f->check.hashed < intake_written(f) || is_busy(f) ? STEP_STAY : f->check.then;
}

/* What was received after `hashed` is lost: it is fetched again, and goes to memory. Readers that were handed any of it
 * are cut, for nobody can prove it any more. */
static enum fill_step fetch_again(struct fill *f, int code) {
    char digest[DIGEST_STR_MAX];
    int64_t from = f->check.hashed;
    log_warn("fill_unreadable", KV_S("digest", digest_str(&f->spec.digest, digest)), KV_I("from", from),
             KV_I("written", intake_written(f)), KV_S("why", error_name(code)), KV_S("request_id", f->spec.request_id));
    f->check.generation++;
    shared_take_back(&f->shared, from);
    stretch_forget_ahead(f);
    plan_leave(f);
    intake_take_back(f, from);
    fill_bytes_leave_disk(f, code);
    fill_notify_readers(f);
    fill_retry_in(f, 0);
    return STEP_WAITING;
}

static enum fill_step cannot_read(struct fill *f, int code) {
    if (f->check.reopened) {
        fill_rewind(f, piece_start(f->check.hashed));
        return plan_source_was_wrong(f, "");
    }
    if (fill_bytes_have_part(f) && !fill_bytes_in_window(f)) return fetch_again(f, code);
    struct fetch_end end;
    fetch_end_set(&end, code, "what was written cannot be read back: %s", error_name(code));
    return fill_fail(f, &end);
}

enum fill_step check_lost_all(struct fill *f, int code) {
    fill_rewind(f, 0);
    return cannot_read(f, code);
}

/* Takes over what the hasher has got to. */
static enum fill_step adopt(struct fill *f) {
    int64_t reached = atomic_load_explicit(&f->check.run.reached, memory_order_acquire);
    enum fill_step next = STEP_STAY;
    while (f->check.hashed < reached && next == STEP_STAY) {
        int64_t end = piece_end(f->check.hashed);
        f->check.hashed = reached < end ? reached : end;
        if (f->check.hashed == end) next = piece_over(f, proof_at(f, end));
    }
    if (next == STEP_STAY && fill_is_shared(f) && !f->check.reopened) fill_publish(f);
    return next;
}

/* It has ended. */
static enum fill_step adopt_last(struct fill *f) {
    f->check.hasher = f->check.run.hasher; /* a wrong piece sets it back */
    enum fill_step next = adopt(f);
    return next == STEP_STAY && f->check.run.code < 0 ? cannot_read(f, f->check.run.code) : next;
}

/* The hasher is free, and what it brought is `wanted`. */
static enum fill_step check_on(struct fill *f, bool wanted) {
    enum fill_step next = wanted ? adopt_last(f) : STEP_STAY;
    if (next == STEP_STAY) next = check_written(f);
    if (next != STEP_STAY) return next;
    if (fill_is_shared(f)) fill_tell(f);
    if (fill_step(f) == STEP_CHECKING) return after(f);
    if (fill_step(f) == STEP_FETCHING) plan_hold_back(f);
    return STEP_STAY;
}

static void on_checked(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, check.run.done);
    struct fill_shard *sh = fill_shard(f);
    bool wanted = is_busy(f);
    f->check.run.running = false;
    sh->n_checks--;
    if (fill_step(f) != STEP_OVER) fill_go(f, check_on(f, wanted));
    fill_unref(f);
    fill_shard_check_stopped(sh);
}

static void start(struct fill *f) {
    struct check_run *c = &f->check.run;
    c->running = true;
    c->generation = f->check.generation;
    c->code = 0;
    c->hasher = f->check.hasher;
    c->from = f->check.hashed;
    atomic_store_explicit(&c->reached, c->from, memory_order_relaxed);
    atomic_store_explicit(&c->goal, intake_written(f), memory_order_relaxed);
    c->work.fn = hash_to_goal;
    c->work.whose = caller_number(&f->spec.caller);
    c->done.fn = on_checked;
    fill_shard(f)->n_checks++;
    fill_ref(f);
    /* What an earlier fill left may be on a slow disk, so it is hashed in the work pool, where no running fetch waits
     * for it. */
    workpool_submit(f->check.reopened ? f->engine->cfg.pool : f->engine->hashers, &c->work);
}

enum fill_step check_written(struct fill *f) {
    if (is_busy(f)) {
        atomic_store_explicit(&f->check.run.goal, intake_written(f), memory_order_release);
        return adopt(f);
    }
    int64_t new = intake_written(f) - f->check.hashed;
    /* The chaining value is needed at the end of a piece. */
    bool piece_is_in = intake_written(f) / PIECE_SIZE > f->check.hashed / PIECE_SIZE;
    bool all = fill_step(f) == STEP_CHECKING || fill_is_shared(f);
    bool enough = piece_is_in || new >= STRETCH_MIN || (all && new > 0);
    if (enough && !f->check.run.running) start(f);
    return STEP_STAY;
}

enum fill_step check_is_shared(struct fill *f) {
    bool receives = fill_step(f) == STEP_FETCHING || fill_step(f) == STEP_CHECKING;
    if (shared_visible(&f->shared) > check_shows_below(f)) {
        shared_hide(&f->shared, check_shows_below(f));
        fill_notify_readers(f); /* so that they are told when it is shown again */
    }
    return receives && !f->check.reopened ? check_written(f) : STEP_STAY;
}

/* What is soon done is not handed over. */
static enum fill_step check_little(struct fill *f) {
    char chunk[IN_PLACE_MAX];
    int64_t len = intake_written(f) - f->check.hashed, to_end = piece_end(f->check.hashed) - f->check.hashed;
    if (is_busy(f) || len == 0 || len > IN_PLACE_MAX || len > to_end) return STEP_STAY;
    int r = fill_bytes_read(f, f->check.hashed, chunk, (size_t)len);
    return r == 0 ? check_in_place(f, chunk, (size_t)len) : cannot_read(f, r);
}

enum fill_step check_then(struct fill *f, enum fill_step then) {
    f->check.then = then;
    return STEP_CHECKING;
}

enum fill_step check_rest(struct fill *f) {
    assert(intake_taken(f) == intake_written(f));
    enum fill_step next = check_little(f);
    if (next == STEP_STAY) next = check_written(f);
    return next == STEP_STAY ? after(f) : next;
}

bool check_digest_fits(const struct fill *f) {
    struct hasher h = f->check.hasher;
    struct digest got;
    hasher_final(&h, &got);
    return digest_eq(&got, &f->spec.digest);
}

/* --- the catalogue's word, and taking back --- */

/* Checks pieces that were hashed before the catalogue answered: takes back from the first wrong one. */
static enum fill_step check_against_advice(struct fill *f) {
    size_t len = digest_len(f->spec.digest.alg);
    size_t n = f->check.n_proofs < f->check.n_advised ? f->check.n_proofs : f->check.n_advised;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *proof = f->check.proofs + i * len;
        if (memcmp(proof, f->check.advised + i * len, len) == 0) {
            piece_is_proven(f, i);
            continue;
        }
        if (!is_disproved(f, i, proof)) return STEP_STAY;
        fill_rewind(f, (int64_t)i * PIECE_SIZE);
        bool source_is_to_blame = fill_step(f) == STEP_FETCHING || fill_step(f) == STEP_CHECKING;
        return source_is_to_blame ? plan_source_was_wrong(f, "a piece that does not match the catalogue") : STEP_STAY;
    }
    fill_notify_readers(f);
    return STEP_STAY;
}

enum fill_step check_advise(struct fill *f, const uint8_t *proofs, size_t n) {
    size_t len = digest_len(f->spec.digest.alg);
    f->check.advised = xmalloc(n * len);
    memcpy(f->check.advised, proofs, n * len);
    f->check.n_advised = n;
    return check_against_advice(f);
}

bool check_piece_begin(const struct fill *f, size_t piece, struct hasher *h) {
    enum digest_alg alg = f->spec.digest.alg;
    if (piece >= f->check.n_advised) return false;
    if (piece == 0)
        hasher_init(h, alg);
    else
        hasher_resume(h, alg, piece * PIECE_SIZE, f->check.advised + (piece - 1) * digest_len(alg));
    return true;
}

bool check_piece_fits(const struct fill *f, size_t piece, const struct hasher *h) {
    size_t len = digest_len(f->spec.digest.alg);
    uint8_t proof[PIECE_PROOF_MAX];
    hasher_proof(h, proof);
    return memcmp(proof, f->check.advised + piece * len, len) == 0;
}

void fill_rewind(struct fill *f, int64_t to) {
    assert(to % PIECE_SIZE == 0 && to <= f->check.hashed);
    log_warn("fill_takes_back", KV_I("from", to), KV_I("written", intake_written(f)),
             KV_S("source", shared_source_name(&f->shared)), KV_S("request_id", f->spec.request_id));
    f->check.generation++;
    f->check.hashed = to;
    shared_take_back(&f->shared, to);
    stretch_forget_ahead(f);
    intake_take_back(f, to);
    size_t piece = (size_t)(to / PIECE_SIZE), len = digest_len(f->spec.digest.alg);
    if (f->check.n_proofs > piece) f->check.n_proofs = piece;
    if (piece == 0)
        hasher_init(&f->check.hasher, f->spec.digest.alg);
    else
        hasher_resume(&f->check.hasher, f->spec.digest.alg, (uint64_t)to, f->check.proofs + (piece - 1) * len);
    fill_notify_readers(f);
}
