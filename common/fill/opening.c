/* The part file of a new fill: what an earlier life has left in it is hashed again, in the work pool, and goes on from
 * there. Thread: fetch loop, but for `rehash`. */
#include "common/fill/fill_private.h"

#include <string.h>

#define REHASH_CHUNK (1 * MiB)

/* Work pool. Only this thread touches hasher, proofs and written meanwhile. */
static void rehash(struct work *w) {
    struct fill *f = container_of(w, struct fill, rehash);
    char *chunk = malloc(REHASH_CHUNK);
    if (!chunk) abort();
    size_t len = digest_len(f->spec.digest.alg);
    f->cap_proofs = (size_t)(f->rehash_to / PIECE_SIZE) + 1;
    f->proofs = calloc(f->cap_proofs, len);
    if (!f->proofs) abort();
    while (f->written < f->rehash_to && !atomic_load_explicit(&f->rehash_stop, memory_order_relaxed)) {
        int64_t room = PIECE_SIZE - f->written % PIECE_SIZE, left = f->rehash_to - f->written;
        int64_t n = room < REHASH_CHUNK ? room : REHASH_CHUNK;
        if (n > left) n = left;
        if (fill_bytes_read(f, f->written, chunk, (size_t)n) < 0) break;
        hasher_update(&f->hasher, chunk, (size_t)n);
        f->written += n;
        if (f->written % PIECE_SIZE != 0) continue;
        uint8_t proof[PIECE_PROOF_MAX];
        hasher_proof(&f->hasher, proof);
        memcpy(f->proofs + f->n_proofs++ * len, proof, len);
    }
    free(chunk);
    loop_post(f->loop, &f->rehashed);
}

static void on_rehashed(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, rehashed);
    f->step = STEP_WAITING;
    f->hashed = f->taken = f->written;
    if (atomic_load_explicit(&f->rehash_stop, memory_order_relaxed)) {
        fill_stop(f);
        return;
    }
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (size >= 0 && f->written > size) fill_rewind(f, 0);
    atomic_fetch_add_explicit(&f->engine->resumed_bytes, f->written, memory_order_relaxed);
    log_info("fill_resumes", KV_I("have", f->written), KV_S("request_id", f->spec.request_id));
    check_against_advice(f);
    fill_publish(f);
    if (f->readers.n == 0) timer_set(&f->linger, FILL_LINGER_MS);
    fill_fetch(f);
}

void fill_open(struct fill *f, bool apart) {
    struct error err = {0};
    int64_t have = 0;
    int r = apart ? ERR_BUSY : part_open(f->engine->cfg.store, &f->spec.digest, &f->part, &have, &err);
    f->rehashed.fn = on_rehashed;
    if (r == 0) {
        f->disk = part_file(f->part);
    } else {
        f->part = NULL;
        have = 0;
        if (!apart) log_warn("fill_passes_through", KV_S("why", err.msg), KV_S("request_id", f->spec.request_id));
    }
    if (have > 0 && f->n_sources > 0) {
        f->step = STEP_OPENING;
        f->rehash.fn = rehash;
        f->rehash_to = have;
        workpool_submit(f->engine->cfg.pool, &f->rehash);
    } else {
        timer_set(&f->retry, 0); /* never call back before we return */
    }
}
