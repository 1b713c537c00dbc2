/* Which source a fill asks for which bytes, and with what result: its sources in their order, the stretch that writes
 * the part file from its start to its end, and the stretches ahead of it. Thread: fetch loop. */
#include "common/fill/fill_private.h"

#include "common/core/clock.h"

#include <stdio.h>
#include <string.h>

#define ABSORB_CHUNK (1 * MiB)
#define TRIES_MAX 2 /* fetches in a row that bring no byte, for one source */
#define WRONG_MAX 2 /* wrong bytes from one source */
/* Stretches ahead at once, and bytes of each at most. */
#define AHEAD_MAX 4
#define AHEAD_BYTES (8 * MiB)
/* Seconds: a reader is far ahead if the part file needs longer than this to reach its bytes. */
#define AHEAD_SECONDS 2
/* After so many failed stretches ahead from one source it is asked for no more: the catalogue may be wrong. */
#define AHEAD_FAILURES_MAX 3
#define RETRY_FIRST_MS 200
#define RETURN_MS 15000 /* how long to wait for a source that was lost in mid-body */
#define RETURN_TRY_MS 500

void plan_init(struct fill *f) {
    const struct fill_engine_config *cfg = &f->engine->cfg;
    f->plan.n_sources = cfg->sources(&f->spec, f->plan.sources, cfg->arg);
    if (f->plan.n_sources == 0) fetch_end_no_source(&f->plan.failures.told);
}

void plan_leave(struct fill *f) {
    stretch_leave(f);
    shared_waits(&f->shared);
}

bool plan_has_sources(const struct fill *f) {
    return f->plan.n_sources > 0;
}

bool plan_has_flowed(const struct fill *f) {
    return f->plan.has_flowed;
}

bool plan_is_paused(const struct fill *f) {
    return f->plan.paused;
}

void plan_goes_on_from(struct fill *f, int64_t written) {
    f->plan.tick_written = written;
}

/* --- when a source fails --- */

static void note_failure(struct fill *f, const struct fetch_end *end) {
    shared_set_trouble(&f->shared, end);
    failure_note(&f->plan.failures, f->plan.sources[f->plan.source], end);
}

/* True if readers in mid-body should wait for a source that has gone. It may only be restarting, and their
 * clients would be cut. Readers that have seen no byte do not wait. */
static bool wait_for_return(struct fill *f, const struct fetch_end *end) {
    /* No reader has seen bytes that an earlier fill left. */
    bool shown = f->plan.has_flowed && shared_visible(&f->shared) > 0 && fill_first_reader(f);
    if (end->code != ERR_UNREACHABLE || !shown) return false;
    int64_t now = clock_mono_ms();
    if (f->plan.gone_since_ms == 0) f->plan.gone_since_ms = now;
    if (now - f->plan.gone_since_ms > RETURN_MS) return false;
    fill_retry_in(f, RETURN_TRY_MS);
    return true;
}

/* The current source has failed: which one next, and when. */
static enum fill_step source_failed(struct fill *f, const struct fetch_end *end) {
    shared_waits(&f->shared);
    /* A manifest is fetched whole each time, so a part of it is no progress. */
    bool got_bytes = intake_written(f) > f->plan.from && !f->spec.manifest;
    unsigned s = f->plan.source;
    log_info("source_failed", KV_S("source", f->plan.sources[s]->name), KV_S("why", end->msg),
             KV_I("have", intake_written(f)), KV_S("request_id", f->spec.request_id));
    note_failure(f, end);
    /* Nothing of its answer is kept, so its length is only a claim from now on; readers that were sent it may still be
     * right. */
    if (intake_written(f) == 0 && shared_size_word(&f->shared) == SIZE_SENT)
        shared_set_size(&f->shared, shared_size(&f->shared), SIZE_CLAIMED);
    if (f->plan.n_sources == 1 && wait_for_return(f, end)) return STEP_WAITING;
    if (end->code == ERR_MISMATCH) f->plan.mismatches[s]++;
    f->plan.tries[s] = got_bytes && end->code != ERR_MISMATCH ? 0 : (unsigned char)(f->plan.tries[s] + 1);
    if (failure_next_of_source(end, intake_written(f) > 0) != FAILURE_ASK_AGAIN) f->plan.tries[s] = TRIES_MAX;
    for (unsigned i = 1; i <= f->plan.n_sources; i++) {
        unsigned next = (s + i) % f->plan.n_sources;
        if (f->plan.tries[next] >= TRIES_MAX || f->plan.mismatches[next] >= WRONG_MAX) continue;
        f->plan.source = next;
        int64_t wait = next == s && !got_bytes ? clock_jitter_ms(RETRY_FIRST_MS << f->plan.tries[s])
                       : next == s             ? clock_jitter_ms(20)
                                               : 0;
        fill_retry_in(f, wait);
        return STEP_WAITING;
    }
    struct fetch_end told = f->plan.failures.told;
    return fill_fail(f, &told);
}

enum fill_step plan_retry(struct fill *f) {
    struct fetch_end end = f->plan.last;
    if (end.gave_way) {
        f->plan.gave_way = true;
        fill_retry_in(f, 0);
        return STEP_WAITING;
    }
    return source_failed(f, &end);
}

enum fill_step plan_source_was_wrong(struct fill *f, const char *what) {
    /* The source is not at fault: an earlier fill or the disk has put the wrong bytes there. They have been taken
     * back. */
    if (check_is_reopened(f)) return STEP_CHECKING;
    fetch_end_set(&f->plan.last, ERR_MISMATCH, "%s sent %s", f->plan.sources[f->plan.source]->name, what);
    return STEP_REJECTING;
}

enum fill_step plan_reject_source(struct fill *f) {
    atomic_fetch_add_explicit(&f->engine->mismatches, 1, memory_order_relaxed);
    plan_leave(f);
    f->plan.avoid_origin = f->plan.origin;
    /* Earlier bytes of it stay, unless they are known to be wrong. */
    enum fill_step next = intake_flush(f);
    return next == STEP_STAY ? check_then(f, STEP_RETRYING) : next;
}

/* --- fetching --- */

/* Takes the next piece from those fetched ahead, as if a source had sent it. STEP_STAY: there is none. */
static enum fill_step absorb(struct fill *f) {
    static _Thread_local char chunk[ABSORB_CHUNK];
    struct open_file *file;
    int64_t at, from = intake_written(f);
    if (from % PIECE_SIZE != 0 || fill_bytes_in_window(f)) return STEP_STAY;
    int64_t end = from + aside_find(f, from, &file, &at);
    if (end == from) return STEP_STAY;
    fill_make_part(f);
    enum fill_step next = STEP_STAY;
    while (next == STEP_STAY && intake_written(f) < end) {
        size_t want = end - intake_written(f) < ABSORB_CHUNK ? (size_t)(end - intake_written(f)) : ABSORB_CHUNK;
        ssize_t n = pread(open_file_fd(file), chunk, want, at + intake_written(f) - from);
        if (n <= 0) {
            stretch_forget_ahead(f);
            break;
        }
        next = intake_direct(f, chunk, (size_t)n);
    }
    open_file_unref(file);
    if (next != STEP_STAY || intake_written(f) == from) return next;
    return check_then(f, STEP_FETCHING);
}

/* The source sends another size than manifests have claimed. Readers that were sent the claimed size notice and are
 * cut. Meanwhile nothing may be visible that would be a whole body by the new size. */
static void claim_refuted(struct fill *f, int64_t size) {
    char digest[DIGEST_STR_MAX];
    log_info("claimed_size_wrong", KV_S("digest", digest_str(&f->spec.digest, digest)),
             KV_I("claimed", shared_size(&f->shared)), KV_I("size", size), KV_S("request_id", f->spec.request_id));
    stretch_forget_ahead(f);
    shared_hide(&f->shared, 0);
    shared_set_size(&f->shared, size, size < 0 ? SIZE_CLAIMED : SIZE_SENT);
    fill_publish(f);
    fill_notify_readers(f);
}

enum fill_step plan_take_head(struct fill *f, const struct source *by, const struct fetch_head *h) {
    f->plan.gone_since_ms = 0;
    f->plan.origin = h->origin;
    int64_t known = shared_size(&f->shared);
    if (h->total >= 0 && h->total != known && shared_size_is_claimed(&f->shared) && h->total >= intake_taken(f)) {
        claim_refuted(f, h->total);
    } else if (h->total >= 0 && known >= 0 && h->total != known) {
        char what[96];
        snprintf(what, sizeof(what), "a length of %lld instead of %lld", (long long)h->total, (long long)known);
        return plan_source_was_wrong(f, what);
    }
    if (f->spec.manifest && h->total > MANIFEST_MAX_BYTES) {
        struct fetch_end end;
        fetch_end_set(&end, ERR_TOO_BIG, "%s has a manifest of %lld bytes; at most %d are accepted", by->name,
                      (long long)h->total, MANIFEST_MAX_BYTES);
        return fill_fail(f, &end);
    }
    if (h->total >= 0 && shared_size_word(&f->shared) < SIZE_SENT) shared_set_size(&f->shared, h->total, SIZE_SENT);
    fill_make_part(f);
    enum fill_step next = fill_window_refused(f);
    if (next != STEP_STAY) return next;
    if (h->total >= 0) fill_bytes_expect(f, intake_written(f), h->total);
    if (f->spec.manifest) shared_set_media_type(&f->shared, h->media_type);
    f->plan.has_flowed = true;
    shared_flows(&f->shared, by);
    fill_publish(f);
    fill_notify_readers(f);
    return STEP_STAY;
}

/* Pauses the source while the window is full, until the slowest reader has advanced. */
void plan_hold_back(struct fill *f) {
    if (!fill_bytes_in_window(f)) return;
    fill_bytes_drop_consumed(f);
    bool full = fill_window_full(f);
    if (full == f->plan.paused || !stretch_in_turn(f)) return;
    f->plan.paused = full;
    if (full) {
        fill_tell(f);
        stretch_pause(f);
    } else {
        stretch_resume(f);
    }
}

/* If enough pieces in a row have been fetched ahead, ends this fetch and asks for what follows them. */
static enum fill_step skip_ahead(struct fill *f) {
    if (intake_taken(f) % PIECE_SIZE != 0 || aside_run(f, intake_taken(f) / PIECE_SIZE) < 2 || fill_bytes_in_window(f))
        return STEP_STAY;
    stretch_leave(f);
    return check_then(f, STEP_FETCHING);
}

enum fill_step plan_take_data(struct fill *f, const char *p, size_t len) {
    int64_t size = shared_size(&f->shared), end = intake_taken(f) + (int64_t)len;
    if (shared_size_is_claimed(&f->shared) && end > size) {
        size = -1;
        claim_refuted(f, size);
    }
    if ((size >= 0 && end > size) || (f->spec.manifest && end > MANIFEST_MAX_BYTES))
        return plan_source_was_wrong(f, "more bytes than it should");
    while (len) {
        int64_t room = piece_end(intake_taken(f)) - intake_taken(f);
        size_t n = (int64_t)len < room ? len : (size_t)room;
        enum fill_step next = intake_add(f, p, n);
        if (next == STEP_STAY) next = skip_ahead(f);
        if (next != STEP_STAY) return next;
        p += n;
        len -= n;
    }
    /* Readers wait for the first bytes, so those are not gathered. */
    if (intake_written(f) > 0) return STEP_STAY;
    enum fill_step next = intake_flush(f);
    if (next == STEP_STAY) plan_hold_back(f);
    return next;
}

enum fill_step plan_take_lull(struct fill *f) {
    enum fill_step next = intake_flush(f);
    if (next != STEP_STAY) return next;
    fill_tell(f);
    plan_hold_back(f);
    return STEP_STAY;
}

enum fill_step plan_take_end(struct fill *f, const struct fetch_end *e) {
    if (e->code != 0 && !e->gave_way) shared_waits(&f->shared);
    enum fill_step next = intake_flush(f);
    if (next != STEP_STAY) return next;
    fill_tell(f);
    f->plan.last = *e;
    return check_then(f, STEP_JUDGING);
}

/* Called when a fetch has ended and all its bytes are hashed. */
enum fill_step plan_judge(struct fill *f) {
    const struct fetch_end *e = &f->plan.last;
    int64_t size = shared_size(&f->shared);
    if (e->code == 0 && shared_size_is_claimed(&f->shared) && intake_written(f) != size && check_digest_fits(f)) {
        size = intake_written(f);
        claim_refuted(f, size);
    } else if (e->code == 0 && size < 0) {
        size = intake_written(f);
        shared_set_size(&f->shared, size, SIZE_CLAIMED); /* until the digest proves it */
    }
    if (e->code == 0 && intake_written(f) == size) {
        return STEP_FINISHING;
    } else if (e->code == 0) {
        struct fetch_end shorter;
        fetch_end_set(&shorter, ERR_UPSTREAM, "%s ended after %lld of %lld bytes",
                      f->plan.sources[f->plan.source]->name, (long long)intake_written(f), (long long)size);
        return source_failed(f, &shorter);
    } else if (e->status == 416 && size <= intake_written(f) && intake_written(f) > 0 &&
               f->plan.from == intake_written(f)) {
        /* The source has nothing after our bytes, so they are complete or wrong. */
        return STEP_FINISHING;
    }
    return STEP_RETRYING;
}

/* --- ahead --- */

static bool may_send_ahead(const struct fill *f, unsigned s) {
    return f->plan.tries[s] < TRIES_MAX && f->plan.mismatches[s] < WRONG_MAX &&
           f->plan.ahead_failures[s] < AHEAD_FAILURES_MAX;
}

/* Chooses a source: the present one, unless another has failed less often. False: all have failed too often. */
static bool choose_ahead(const struct fill *f, int64_t from, int64_t to, struct stretch *out) {
    bool found = false;
    for (unsigned i = 0; i < f->plan.n_sources; i++) {
        unsigned s = (f->plan.source + i) % f->plan.n_sources;
        if (!may_send_ahead(f, s)) continue;
        if (found && f->plan.ahead_failures[s] >= f->plan.ahead_failures[out->source]) continue;
        *out = (struct stretch){.source = s, .from = from, .to = to, .ahead = true};
        found = true;
    }
    return found;
}

void plan_ahead_failed(struct fill *f, const struct stretch *st) {
    f->plan.ahead_failures[st->source]++;
}

void plan_ahead_was_wrong(struct fill *f, const char *origin) {
    f->plan.disproved_ahead = true;
    f->plan.avoid_origin = origin;
}

bool plan_has_another(const struct fill *f, const struct stretch *st) {
    for (unsigned s = 0; s < f->plan.n_sources; s++) {
        bool as_good = f->plan.ahead_failures[s] <= f->plan.ahead_failures[st->source];
        if (s != st->source && may_send_ahead(f, s) && as_good) return true;
    }
    return false;
}

/* The part of a reader's range that is far ahead and is neither there nor being fetched. False: none. */
static bool needs_ahead(const struct fill *f, const struct fill_reader *r, int64_t *from, int64_t *to) {
    int64_t size = shared_size(&f->shared), pos = atomic_load_explicit(&r->consumed, memory_order_relaxed);
    int64_t end = atomic_load_explicit(&r->until, memory_order_relaxed);
    if (end == INT64_MAX) return false; /* without a known end the reader could be handed no byte of it */
    if (end > size) end = size;
    if (pos >= end || end - pos > AHEAD_BYTES) return false;
    int64_t distance = pos - intake_taken(f);
    if (distance < 2 * PIECE_SIZE || distance < f->plan.rate * AHEAD_SECONDS) return false;
    int64_t piece = pos / PIECE_SIZE, stop = piece_end(end - 1);
    *from = (piece + aside_run(f, piece)) * PIECE_SIZE;
    *to = stop > size ? size : stop;
    return *from < end && !stretch_brings(f, *from);
}

/* Starts stretches ahead for readers that wait for far bytes. The size must be known: the last piece ends there. */
static void look_ahead(struct fill *f, int64_t ms) {
    if (shared_size(&f->shared) < 0 || shared_size_is_claimed(&f->shared) || f->spec.manifest ||
        fill_bytes_in_window(f))
        return;
    stretch_tick(f, ms);
    for (struct fill_reader *r = fill_first_reader(f); r && stretch_n_ahead(f) < AHEAD_MAX; r = r->next) {
        int64_t from, to;
        struct stretch st;
        if (!needs_ahead(f, r, &from, &to)) continue;
        if (!choose_ahead(f, from, to, &st) || !aside_has_room(f)) return;
        stretch_start(f, &st, &r->spec);
    }
}

void plan_tick(struct fill *f, int64_t ms) {
    int64_t per_s = (intake_written(f) - f->plan.tick_written) * 1000 / ms;
    f->plan.rate = f->plan.rate ? (f->plan.rate * 3 + per_s) / 4 : per_s;
    f->plan.tick_written = intake_written(f);
    if (fill_step(f) == STEP_FETCHING) look_ahead(f, ms);
}

/* --- asking --- */

struct source *plan_request(struct fill *f, const struct stretch *st, const struct fill_spec *by,
                            struct fetch_request *out) {
    *out = (struct fetch_request){
        .kind = f->spec.manifest ? FETCH_MANIFEST : FETCH_BLOB,
        .repo = f->spec.repo,
        .caller = by->caller,
        .settings = f->spec.settings,
        .ref = {.is_digest = true, .digest = f->spec.digest},
        .offset = st->from,
        .length = st->to == INT64_MAX ? 0 : st->to - st->from,
        .max_body = f->spec.manifest ? MANIFEST_MAX_BYTES : 0,
        .avoid_origin = f->plan.avoid_origin,
        .doubted = (st->ahead && f->plan.disproved_ahead) || f->plan.mismatches[st->source] > 0,
        .begun = f->plan.gave_way,
    };
    memcpy(out->request_id, by->request_id, sizeof(out->request_id));
    f->plan.avoid_origin = NULL;
    return f->plan.sources[st->source];
}

enum fill_step plan_fetch(struct fill *f) {
    if (f->plan.n_sources == 0) {
        struct fetch_end told = f->plan.failures.told;
        return fill_fail(f, &told);
    }
    enum fill_step next = absorb(f);
    if (next != STEP_STAY) return next;
    int64_t size = shared_size(&f->shared);
    if (size >= 0 && intake_written(f) == size && (!shared_size_is_claimed(&f->shared) || check_digest_fits(f))) {
        /* It is not known from which source the part file came, so a source of this repository must confirm that it has
         * the blob. */
        bool only_left = size > 0 && !f->plan.has_flowed;
        if (!only_left) return STEP_FINISHING;
        fill_rewind(f, piece_start(size - 1));
    }
    /* Manifests are fetched whole. */
    if (f->spec.manifest && intake_written(f) > 0) fill_rewind(f, 0);
    struct stretch to_end = {.source = f->plan.source, .from = intake_written(f), .to = INT64_MAX};
    f->plan.paused = false;
    f->plan.from = to_end.from;
    stretch_start(f, &to_end, &f->spec);
    return STEP_STAY;
}
