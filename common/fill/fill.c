/* The life of one fill. Thread: its fetch loop, but for what is marked.
 *
 *                 ┌── a part file is there ──▶┐
 *   fill_start ─▶ WAITING ─▶ FETCHING ─────▶ CHECKING ─▶ COMMITTING ─▶ OVER
 *                 │   ▲       │  ▲            │ │  │ proved              ▲
 *                 │   │       │  └── reopened ┘ │  │                     │
 *                 │   └───────┼──── not yet ────┘  │                     │
 *                 └───────────┴────────────────────┴── failed, paused ───┘
 *
 * WAITING: the next try, or the first, is due. FETCHING: a source sends (intake.c); each piece is checked against the
 * catalogue's proof (check.c). CHECKING: the source has ended, and its last bytes are being hashed; or those that an
 * earlier life has left (opening.c). A wrong piece takes back that piece and what follows (fill_rewind),
 * nothing before it. */
#include "common/fill/fill_private.h"

#include "common/core/budget.h"
#include "common/core/clock.h"
#include "common/store/part.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define ABSORB_CHUNK (1 * MiB)
#define TRIES_MAX 2 /* in a row without a byte, for one source */
#define LIES_MAX 2  /* wrong bytes from one source */
#define RETRY_FIRST_MS 200
#define RETURN_MS 15000 /* a source that is gone in mid-body may come back within this */
#define RETURN_TRY_MS 500
#define TICK_MS 250

/* --- references and the table --- */

void fill_unref(struct fill *f) {
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1) return;
    budget_give(BUDGET_PASS_THROUGH, f->window_bytes);
    open_file_unref(f->disk);
    open_file_unref(atomic_load_explicit(&f->window, memory_order_relaxed));
    aside_file_free(atomic_load_explicit(&f->aside_file, memory_order_relaxed));
    for (unsigned i = 0; i < f->n_scopes; i++)
        free(f->scopes[i]);
    free(f->proofs);
    free(f->advised);
    free(atomic_load_explicit(&f->trouble, memory_order_relaxed));
    free(f);
}

struct fill_shard *fill_shard(struct fill *f) {
    return fill_shard_of(f->engine, &f->spec.digest);
}

static void leave_table(struct fill *f) {
    if (!f->in_table) return;
    f->in_table = false;
    map_take(fill_shard(f)->table, &f->spec.digest, sizeof(f->spec.digest));
}

void fill_over(struct fill *f) {
    assert(f->step != STEP_OVER);
    f->step = STEP_OVER;
    leave_table(f);
    fill_window_stop_waiting(f);
    aside_over(f);
    intake_drop(f);
    if (f->fetch) fetch_cancel(f->fetch);
    f->fetch = NULL;
    timer_fini(&f->retry);
    timer_fini(&f->tick);
    timer_fini(&f->linger);
    if (f->prev)
        f->prev->next = f->next;
    else
        fill_shard(f)->all = f->next;
    if (f->next) f->next->prev = f->prev;
    fill_shard_check_stopped(fill_shard(f));
    atomic_fetch_sub_explicit(&f->engine->running, 1, memory_order_relaxed);
    fill_unref(f);
}

static struct fill *fill_new(struct fill_shard *sh, const struct fill_spec *spec) {
    struct fill *f = calloc(1, sizeof(*f));
    if (!f) abort();
    atomic_init(&f->refs, 1);
    f->engine = sh->engine;
    f->loop = sh->loop;
    f->spec = *spec;
    atomic_init(&f->size, -1);
    atomic_init(&f->settled_size, -1);
    atomic_init(&f->rewind_floor, INT64_MAX);
    atomic_init(&f->window_from, INT64_MAX);
    atomic_init(&f->source_name, "");
    f->step = STEP_OVER;
    f->disproved = -1;
    return f;
}

struct fill *fill_of_held(struct fill_shard *sh, const struct fill_spec *spec, struct open_file *file,
                          const struct blob_info *info) {
    struct fill *f = fill_new(sh, spec);
    f->disk = file;
    f->written = info->size;
    fill_set_size(f, info->size, SIZE_KNOWN);
    atomic_store_explicit(&f->visible, info->size, memory_order_relaxed);
    atomic_store_explicit(&f->proven, info->size, memory_order_relaxed);
    atomic_store_explicit(&f->source_name, "disk", memory_order_relaxed);
    if (info->media_type) snprintf(f->media_type, sizeof(f->media_type), "%s", info->media_type);
    f->is_manifest = spec->manifest && info->media_type;
    atomic_store_explicit(&f->state, FILL_PROVED, memory_order_release);
    return f;
}

struct fill *fill_of_error(struct fill_shard *sh, const struct fill_spec *spec, const struct fetch_end *end) {
    struct fill *f = fill_new(sh, spec);
    f->end = *end;
    atomic_store_explicit(&f->state, FILL_FAILED, memory_order_release);
    return f;
}

bool fill_has_scope(const struct fill *f, const char *scope) {
    for (unsigned i = 0; i < f->n_scopes; i++) {
        if (strcmp(f->scopes[i], scope) == 0) return true;
    }
    return false;
}

void fill_add_scope(struct fill *f, const char *scope) {
    if (f->n_scopes == ARRAY_LEN(f->scopes) || fill_has_scope(f, scope)) return;
    char *copy = strdup(scope);
    if (!copy) abort();
    f->scopes[f->n_scopes++] = copy;
}

/* --- readers --- */

void fill_notify_readers(struct fill *f) {
    f->told = atomic_load_explicit(&f->visible, memory_order_relaxed);
    for (struct fill_reader *r = f->readers.first; r; r = r->next)
        loop_post_once(r->loop, &r->notify);
}

void fill_reader_joins(struct fill *f, struct fill_reader *r) {
    r->next = f->readers.first;
    f->readers.first = r;
    f->readers.n++;
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    r->rewinds_seen = atomic_load_explicit(&f->rewinds, memory_order_relaxed);
    atomic_store_explicit(&r->fill, f, memory_order_release);
    if (f->step != STEP_OVER) timer_clear(&f->linger);
    loop_post_once(r->loop, &r->notify);
}

void fill_reader_leaves(struct fill *f, struct fill_reader *r) {
    for (struct fill_reader **link = &f->readers.first; *link; link = &(*link)->next) {
        if (*link != r) continue;
        *link = r->next;
        f->readers.n--;
        break;
    }
    f->wanted_later = f->wanted_later || r->wants_it_later;
    if (f->step != STEP_OVER && f->readers.n == 0) timer_set(&f->linger, FILL_LINGER_MS);
    if (f->paused) fill_poke(f);
}

/* The last reader has been gone for a while: go on only if more than half is in (design.md "Fill"), or if it left
 * because the source takes so long to answer. */
static void on_linger(void *arg) {
    struct fill *f = arg;
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (f->readers.n > 0 || f->step == STEP_COMMITTING) return;
    if (f->wanted_later && !f->has_flowed) {
        timer_set(&f->linger, FILL_LINGER_MS);
        return;
    }
    bool worth_it = size >= 0 && f->written * 2 > size && !atomic_load_explicit(&f->window, memory_order_relaxed);
    if (!worth_it) fill_stop(f);
}

/* --- how long it is --- */

bool fill_size_is_claimed(const struct fill *f) {
    return f->size_word < SIZE_SENT && atomic_load_explicit(&f->size, memory_order_relaxed) >= 0;
}

void fill_set_size(struct fill *f, int64_t size, enum size_word word) {
    f->size_word = word;
    atomic_store_explicit(&f->size, size, memory_order_release);
    atomic_store_explicit(&f->settled_size, word == SIZE_CLAIMED ? -1 : size, memory_order_release);
}

/* --- what is visible --- */

/* Everything but the last piece, which waits for the whole digest. Where the catalogue knows the pieces nothing is
 * shown of the one after that which is being checked; and of what an earlier life has left nothing that is not. */
void fill_publish(struct fill *f) {
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    int64_t limit = size >= 0 ? (size > 0 ? piece_start(size - 1) : 0) : f->written - PIECE_SIZE;
    int64_t checked = piece_end(f->hashed);
    if (f->n_advised && limit > checked) limit = checked;
    if (f->reopened && limit > f->hashed) limit = f->hashed;
    int64_t visible = f->written < limit ? f->written : limit;
    if (visible < 0) visible = 0;
    atomic_store_explicit(&f->visible, visible, memory_order_release);
    /* The first bytes are waited for; later a wake-up is worth some more of them. */
    bool enough = f->told < FILL_TELL || visible - f->told >= FILL_TELL || visible < f->told || visible == limit;
    if (enough) fill_tell(f);
}

/* Whoever is just taking what was visible before sees by `rewinds` that it is not to be relied on. */
void fill_hide(struct fill *f, int64_t to) {
    atomic_fetch_add_explicit(&f->rewinds, 1, memory_order_release);
    atomic_store_explicit(&f->visible, to, memory_order_release);
}

void fill_tell(struct fill *f) {
    if (atomic_load_explicit(&f->visible, memory_order_relaxed) != f->told) fill_notify_readers(f);
}

/* --- failing --- */

void fill_fail(struct fill *f, const struct fetch_end *end) {
    f->end = *end;
    /* That there is no such thing is an answer like any. */
    bool refused = (end->code == ERR_NOT_FOUND || end->code == ERR_DENIED) && f->written == 0;
    if (!refused) {
        char digest[DIGEST_STR_MAX];
        atomic_fetch_add_explicit(&f->engine->failed, 1, memory_order_relaxed);
        log_warn("fill_failed", KV_S("digest", digest_str(&f->spec.digest, digest)), KV_S("why", end->msg),
                 KV_I("have", f->written), KV_S("request_id", f->spec.request_id));
    }
    atomic_store_explicit(&f->state, FILL_FAILED, memory_order_release);
    if (f->part) part_close(f->part);
    f->part = NULL;
    fill_notify_readers(f);
    fill_over(f);
}

void fill_stop(struct fill *f) {
    if (f->step == STEP_OVER || f->step == STEP_COMMITTING) return;
    struct fetch_end end;
    bool kept = f->part && !atomic_load_explicit(&f->window, memory_order_relaxed);
    fetch_end_set(&end, ERR_CANCELLED, "the download was stopped%s", kept ? "; its bytes are kept" : "");
    fill_fail(f, &end);
}

static void note_failure(struct fill *f, const struct fetch_end *end) {
    if (!f->failures.told.code) {
        struct fetch_end *first = malloc(sizeof(*first));
        if (!first) abort();
        *first = *end;
        atomic_store_explicit(&f->trouble, first, memory_order_release);
    }
    failure_note(&f->failures, f->sources[f->source], end);
}

static void on_retry(void *arg) {
    struct fill *f = arg;
    if (f->waits_for_window && !fill_window_take(f)) {
        timer_set(&f->retry, FILL_WINDOW_TRY_MS);
        return;
    }
    fill_window_stop_waiting(f);
    if (f->reopened && f->n_sources > 0)
        fill_reopen(f);
    else
        fill_fetch(f);
}

static int64_t jittered(int64_t ms) {
    uint32_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) return ms;
    return ms / 2 + (int64_t)(random % (uint32_t)(ms + 1));
}

/* Readers are in the middle of a body and the source is gone, perhaps only for the moment it takes to restart: they
 * wait a little rather than be cut. Nobody who has seen nothing yet waits. */
static bool wait_for_return(struct fill *f, const struct fetch_end *end) {
    /* What an earlier life has left is nothing that anybody has seen. */
    bool shown = f->has_flowed && atomic_load_explicit(&f->visible, memory_order_relaxed) > 0 && f->readers.n > 0;
    if (end->code != ERR_UNREACHABLE || !shown) return false;
    int64_t now = clock_mono_ms();
    if (f->gone_since_ms == 0) f->gone_since_ms = now;
    if (now - f->gone_since_ms > RETURN_MS) return false;
    timer_set(&f->retry, RETURN_TRY_MS);
    return true;
}

/* The source that had agreed has failed: readers that have not begun wait for the next one's word. */
void fill_nobody_sends(struct fill *f) {
    if (atomic_load_explicit(&f->state, memory_order_relaxed) == FILL_FLOWING)
        atomic_store_explicit(&f->state, FILL_STARTING, memory_order_release);
}

/* The current source has failed: which one next, and when. */
static void source_failed(struct fill *f, const struct fetch_end *end) {
    fill_nobody_sends(f);
    /* A manifest is fetched whole each time: some of it is no progress. */
    bool got_bytes = f->written > f->fetch_from && !f->spec.manifest;
    unsigned s = f->source;
    log_info("source_failed", KV_S("source", f->sources[s]->name), KV_S("why", end->msg), KV_I("have", f->written),
             KV_S("request_id", f->spec.request_id));
    note_failure(f, end);
    /* Of its answer nothing is kept, so its length binds nobody; whoever was told it may still turn out to be right. */
    if (f->written == 0 && f->size_word == SIZE_SENT)
        fill_set_size(f, atomic_load_explicit(&f->size, memory_order_relaxed), SIZE_CLAIMED);
    f->step = STEP_WAITING;
    if (f->n_sources == 1 && wait_for_return(f, end)) return;
    if (end->code == ERR_MISMATCH) f->lies[s]++;
    f->tries[s] = got_bytes && end->code != ERR_MISMATCH ? 0 : (unsigned char)(f->tries[s] + 1);
    if (failure_next_of_source(end, f->written > 0) != FAILURE_ASK_AGAIN) f->tries[s] = TRIES_MAX;
    for (unsigned i = 1; i <= f->n_sources; i++) {
        unsigned next = (s + i) % f->n_sources;
        if (f->tries[next] >= TRIES_MAX || f->lies[next] >= LIES_MAX) continue;
        f->source = next;
        int64_t wait = next == s && !got_bytes ? jittered(RETRY_FIRST_MS << f->tries[s]) : next == s ? jittered(20) : 0;
        timer_set(&f->retry, wait);
        return;
    }
    struct fetch_end told = f->failures.told;
    fill_fail(f, &told);
}

/* STEP_CHECKING is over after a fetch that had failed. */
static void try_again(struct fill *f) {
    struct fetch_end end = f->last;
    source_failed(f, &end);
}

void fill_source_lied(struct fill *f, const char *what) {
    if (f->reopened) {
        /* An earlier life's bytes, or the disk's: they have been taken back, and no source is to blame. */
        if (f->step == STEP_CHECKING) check_then(f, f->then);
        return;
    }
    atomic_fetch_add_explicit(&f->engine->mismatches, 1, memory_order_relaxed);
    if (f->fetch) fetch_cancel(f->fetch);
    f->fetch = NULL;
    fill_nobody_sends(f);
    f->avoid_origin = f->origin;
    /* What it sent before stays, as far as it is not known to be wrong. */
    if (!intake_flush(f)) return;
    fetch_end_set(&f->last, ERR_MISMATCH, "%s sent %s", f->sources[f->source]->name, what);
    check_then(f, try_again);
}

/* --- fetching --- */

/* A piece that was fetched ahead and comes next is taken from there, as if a source had sent it. True: the fill goes on
 * once it is hashed, or has failed. */
static bool absorb(struct fill *f) {
    static _Thread_local char chunk[ABSORB_CHUNK];
    struct open_file *file;
    int64_t at, from = f->written;
    if (from % PIECE_SIZE != 0 || atomic_load_explicit(&f->window, memory_order_relaxed)) return false;
    int64_t end = from + aside_find(f, from, &file, &at);
    if (end == from) return false;
    fill_make_part(f);
    bool goes_on = true;
    while (goes_on && f->written < end) {
        size_t want = end - f->written < ABSORB_CHUNK ? (size_t)(end - f->written) : ABSORB_CHUNK;
        ssize_t n = pread(open_file_fd(file), chunk, want, at + f->written - from);
        if (n <= 0) {
            aside_forget(f);
            break;
        }
        goes_on = intake_direct(f, chunk, (size_t)n);
    }
    open_file_unref(file);
    if (goes_on && f->written == from) return false;
    if (goes_on) check_then(f, fill_fetch);
    return true;
}

/* Manifests have claimed another size than the source has. Readers that were told it are cut by looking at it again;
 * nothing may be visible meanwhile that is a whole body by the new size. */
static void claim_refuted(struct fill *f, int64_t size) {
    char digest[DIGEST_STR_MAX];
    log_info("claimed_size_wrong", KV_S("digest", digest_str(&f->spec.digest, digest)),
             KV_I("claimed", atomic_load_explicit(&f->size, memory_order_relaxed)), KV_I("size", size),
             KV_S("request_id", f->spec.request_id));
    aside_forget(f);
    fill_hide(f, 0);
    fill_set_size(f, size, size < 0 ? SIZE_CLAIMED : SIZE_SENT);
    fill_publish(f);
    fill_notify_readers(f);
}

static void on_head(struct fetch *fetch, const struct fetch_head *h, void *arg) {
    (void)fetch;
    struct fill *f = arg;
    f->gone_since_ms = 0;
    f->origin = h->origin;
    int64_t known = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (h->total >= 0 && h->total != known && fill_size_is_claimed(f) && h->total >= f->taken) {
        claim_refuted(f, h->total);
    } else if (h->total >= 0 && known >= 0 && h->total != known) {
        char what[96];
        snprintf(what, sizeof(what), "a length of %lld instead of %lld", (long long)h->total, (long long)known);
        fill_source_lied(f, what);
        return;
    }
    if (f->spec.manifest && h->total > MANIFEST_MAX_BYTES) {
        struct fetch_end end;
        fetch_end_set(&end, ERR_TOO_BIG, "%s has a manifest of %lld bytes; at most %d are accepted",
                      f->sources[f->source]->name, (long long)h->total, MANIFEST_MAX_BYTES);
        fill_fail(f, &end);
        return;
    }
    if (h->total >= 0 && f->size_word < SIZE_SENT) fill_set_size(f, h->total, SIZE_SENT);
    fill_make_part(f);
    if (fill_window_refused(f)) return;
    if (h->total >= 0 && f->part) part_expect(f->part, f->written, h->total);
    if (f->spec.manifest) snprintf(f->media_type, sizeof(f->media_type), "%s", h->media_type);
    atomic_store_explicit(&f->source_name, f->sources[f->source]->name, memory_order_relaxed);
    f->has_flowed = true;
    atomic_store_explicit(&f->state, FILL_FLOWING, memory_order_release);
    fill_publish(f);
    fill_notify_readers(f);
}

/* Enough is in the window: the source waits for the slowest reader. */
void fill_hold_back(struct fill *f) {
    if (!atomic_load_explicit(&f->window, memory_order_relaxed)) return;
    fill_bytes_drop_consumed(f);
    bool full = fill_window_full(f);
    if (full == f->paused || !f->fetch) return;
    f->paused = full;
    if (full) {
        fill_tell(f);
        fetch_pause(f->fetch);
    } else {
        fetch_resume(f->fetch);
    }
}

void fill_poke(struct fill *f) {
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    if (!loop_post_once(f->loop, &f->consumed_task)) fill_unref(f);
}

static void on_consumed(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, consumed_task);
    fill_hold_back(f);
    fill_unref(f);
}

/* Ahead lies a run long enough to be worth a new request. */
static bool skip_ahead(struct fill *f) {
    if (f->taken % PIECE_SIZE != 0 || aside_run(f, f->taken / PIECE_SIZE) < 2 ||
        atomic_load_explicit(&f->window, memory_order_relaxed))
        return false;
    fetch_cancel(f->fetch);
    f->fetch = NULL;
    check_then(f, fill_fetch);
    return true;
}

static void on_data(struct fetch *fetch, const void *data, size_t len, void *arg) {
    struct fill *f = arg;
    const struct fill_engine_config *cfg = &f->engine->cfg;
    if (cfg->received) cfg->received(fetch->source->name, (int64_t)len, cfg->arg);
    const char *p = data;
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (fill_size_is_claimed(f) && f->taken + (int64_t)len > size) {
        size = -1;
        claim_refuted(f, size);
    }
    if ((size >= 0 && f->taken + (int64_t)len > size) ||
        (f->spec.manifest && f->taken + (int64_t)len > MANIFEST_MAX_BYTES)) {
        fill_source_lied(f, "more bytes than it should");
        return;
    }
    while (len) {
        int64_t room = piece_end(f->taken) - f->taken;
        size_t n = (int64_t)len < room ? len : (size_t)room;
        if (!intake_add(f, p, n) || skip_ahead(f)) return;
        p += n;
        len -= n;
    }
    /* Somebody waits for the first bytes of all: they are not gathered. */
    if (f->written == 0 && intake_flush(f)) fill_hold_back(f);
}

static void on_lull(struct fetch *fetch, void *arg) {
    (void)fetch;
    struct fill *f = arg;
    if (!intake_flush(f)) return;
    fill_tell(f);
    fill_hold_back(f);
}

/* A fetch has ended, and all it brought is hashed. */
static void source_ended(struct fill *f) {
    const struct fetch_end *e = &f->last;
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (e->code == 0 && fill_size_is_claimed(f) && f->written != size && fill_digest_fits(f)) {
        size = f->written;
        claim_refuted(f, size);
    } else if (e->code == 0 && size < 0) {
        size = f->written;
        fill_set_size(f, size, SIZE_CLAIMED); /* until the digest says so */
    }
    if (e->code == 0 && f->written == size) {
        fill_finish(f);
    } else if (e->code == 0) {
        struct fetch_end shorter;
        fetch_end_set(&shorter, ERR_UPSTREAM, "%s ended after %lld of %lld bytes", f->sources[f->source]->name,
                      (long long)f->written, (long long)size);
        source_failed(f, &shorter);
    } else if (e->status == 416 && f->written > 0 && f->fetch_from == f->written) {
        /* Nothing after what we have: it is complete, or wrong. */
        fill_finish(f);
    } else {
        try_again(f);
    }
}

static void on_done(struct fetch *fetch, const struct fetch_end *e, void *arg) {
    (void)fetch;
    struct fill *f = arg;
    f->fetch = NULL;
    if (e->code != 0) fill_nobody_sends(f);
    if (!intake_flush(f)) return;
    fill_tell(f);
    f->last = *e;
    check_then(f, source_ended);
}

static const struct fetch_events fetch_events = {on_head, on_data, on_done, on_lull};

void fill_fetch(struct fill *f) {
    if (f->n_sources == 0) {
        struct fetch_end told = f->failures.told;
        fill_fail(f, &told);
        return;
    }
    if (absorb(f)) return;
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (size >= 0 && f->written == size && (!fill_size_is_claimed(f) || fill_digest_fits(f))) {
        /* Whose part file it was is not known: the source of this repository must have it, too. */
        bool only_left = size > 0 && !f->has_flowed;
        if (!only_left) {
            fill_finish(f);
            return;
        }
        fill_rewind(f, piece_start(size - 1));
    }
    struct fetch_request rq = {
        .kind = f->spec.manifest ? FETCH_MANIFEST : FETCH_BLOB,
        .repo = f->spec.repo,
        .caller = f->spec.caller,
        .settings = f->spec.settings,
        .ref = {.is_digest = true, .digest = f->spec.digest},
        .offset = f->written,
        .max_body = f->spec.manifest ? MANIFEST_MAX_BYTES : 0,
        .avoid_origin = f->avoid_origin,
        .doubted = f->lies[f->source] > 0,
    };
    if (f->spec.manifest && f->written > 0) {
        /* Manifests are fetched whole. */
        fill_rewind(f, 0);
        rq.offset = 0;
    }
    memcpy(rq.request_id, f->spec.request_id, sizeof(rq.request_id));
    f->avoid_origin = NULL;
    f->step = STEP_FETCHING;
    f->paused = false;
    f->fetch_from = f->written;
    f->fetch = fetch_start(f->sources[f->source], &rq, &fetch_events, f);
}

static void on_tick(void *arg) {
    struct fill *f = arg;
    timer_set(&f->tick, TICK_MS);
    int64_t per_s = (f->written - f->tick_written) * 1000 / TICK_MS;
    f->rate = f->rate ? (f->rate * 3 + per_s) / 4 : per_s;
    f->tick_written = f->written;
    if (f->step == STEP_FETCHING) aside_consider(f);
}

struct fill *fill_start(struct fill_shard *sh, const struct fill_spec *spec, bool apart) {
    struct fill *f = fill_new(sh, spec);
    f->step = STEP_WAITING;
    f->consumed_task.fn = on_consumed;
    timer_init(&f->retry, f->loop, on_retry, f);
    timer_init(&f->tick, f->loop, on_tick, f);
    timer_init(&f->linger, f->loop, on_linger, f);
    hasher_init(&f->hasher, spec->digest.alg);
    f->next = sh->all;
    if (f->next) f->next->prev = f;
    sh->all = f;
    if (!apart) {
        f->in_table = true;
        map_set(sh->table, &f->spec.digest, sizeof(f->spec.digest), f);
    }
    atomic_fetch_add_explicit(&f->engine->running, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&f->engine->started, 1, memory_order_relaxed);
    const struct fill_engine_config *cfg = &f->engine->cfg;
    char scope[REPO_STR_MAX];
    fill_add_scope(f, cfg->scope(spec, scope, cfg->arg));
    f->n_sources = cfg->sources(spec, f->sources, cfg->arg);
    timer_set(&f->tick, TICK_MS);
    if (cfg->ask_catalogue) {
        f->advice_pending = true;
        atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
        cfg->ask_catalogue(f, spec, cfg->arg);
    }
    if (f->n_sources == 0) fetch_end_no_source(&f->failures.told);
    fill_open(f, apart);
    return f;
}

/* The source's length is not the one the catalogue has seen. Nobody can have had all of it: the last piece is withheld.
 */
static void contradicted(struct fill *f, int64_t seen) {
    aside_forget(f);
    fill_hide(f, 0);
    fill_set_size(f, seen, SIZE_KNOWN);
    if (f->taken > seen) fill_rewind(f, 0);
    fill_publish(f);
    if (f->step == STEP_FETCHING) fill_source_lied(f, "another length than it was");
}

static void advise_size(struct fill *f, const struct fill_advice *a) {
    int64_t known = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (a->size < 0 || (a->claimed && known >= 0)) return;
    bool fits = known >= 0 ? known == a->size : f->taken <= a->size;
    if (fits)
        fill_set_size(f, a->size, a->claimed ? SIZE_CLAIMED : SIZE_KNOWN);
    else if (!a->claimed)
        contradicted(f, a->size);
}

void fill_advise(struct fill *f, const struct fill_advice *a) {
    assert(f->advice_pending);
    f->advice_pending = false;
    if (f->step == STEP_OVER || f->step == STEP_COMMITTING) {
        fill_unref(f);
        return;
    }
    size_t len = digest_len(f->spec.digest.alg);
    advise_size(f, a);
    if (a->proofs && a->n_proofs) {
        f->advised = malloc(a->n_proofs * len);
        if (!f->advised) abort();
        memcpy(f->advised, a->proofs, a->n_proofs * len);
        f->n_advised = a->n_proofs;
        aside_forget(f); /* it came unchecked, and could have been checked now */
        check_against_advice(f);
    }
    if (f->step != STEP_OVER) fill_notify_readers(f);
    fill_unref(f);
}
