/* Which readers of a pass-through fill make the others wait, and when they are left behind. Thread: fetch loop.
 *
 * Time counts against a reader while the source is paused, another reader has taken all there is, and this one has not.
 * All other time counts for it, nine times as much. So the count grows only for a reader that makes others wait for
 * more than nine tenths of the time: it takes less than a tenth of what they and the source could. No speed has to be
 * known for that. Every slow reader is counted, not the slowest alone, so that many of them cost no more time than one.
 *
 * A reader that is left behind takes back by itself what its connection has not sent, and says so
 * (fill_reader_stand_aside). Until then its bytes stay: nothing that is given back was still to be sent. */
#include "common/fill/fill_private.h"

#include "common/core/clock.h"

#include <string.h>

#define FORGIVEN 9 /* as many ms as one in which nobody waited for it */

static int64_t grace_ms(const struct fill *f) {
    int64_t own = f->engine->cfg.slow_reader_ms;
    return own > 0 ? own : PACE_GRACE_MS;
}

/* Bytes that r could take now. Negative if it waits for far ones. It is told of FILL_TELL at a time, and reports in
 * steps of no more. */
static int64_t at_hand(const struct fill *f, const struct fill_reader *r) {
    return shared_visible(&f->shared) - atomic_load_explicit(&r->consumed, memory_order_relaxed);
}

static bool is_left(const struct fill_reader *r) {
    return atomic_load_explicit(&r->left_behind, memory_order_relaxed);
}

/* The source is paused, and a reader has nothing to take. One that needs no bytes (HEAD) does not count. */
static bool somebody_waits(const struct fill *f) {
    if (fill_step(f) != STEP_FETCHING || !fill_bytes_in_window(f) || !plan_is_paused(f)) return false;
    for (const struct fill_reader *r = fill_first_reader(f); r; r = r->next) {
        bool needs_bytes = atomic_load_explicit(&r->consumed, memory_order_relaxed) != INT64_MAX;
        if (needs_bytes && !is_left(r) && at_hand(f, r) <= FILL_TELL) return true;
    }
    return false;
}

/* At most a line a second for all fills of a loop. */
static void tell(struct fill *f, const struct fill_reader *r) {
    struct fill_shard *sh = fill_shard(f);
    char digest[DIGEST_STR_MAX], caller[CALLER_TEXT_MAX];
    int64_t now = clock_mono_ms();
    sh->slow_untold++;
    if (sh->slow_told_ms != 0 && now - sh->slow_told_ms < 1000) return;
    log_info("slow_readers_left_behind", KV_I("readers", sh->slow_untold),
             KV_S("digest", digest_str(&f->spec.digest, digest)), KV_S("caller", caller_text(&r->spec.caller, caller)),
             KV_I("at", atomic_load_explicit(&r->consumed, memory_order_relaxed)), KV_I("fill_at", intake_written(f)),
             KV_S("request_id", r->spec.request_id));
    sh->slow_untold = 0;
    sh->slow_told_ms = now;
}

static void leave_behind(struct fill *f, struct fill_reader *r) {
    f->pace.left[f->pace.n_left++ % PACE_CALLERS] = r->spec.caller;
    atomic_fetch_add_explicit(&f->engine->left_behind, 1, memory_order_relaxed);
    tell(f, r);
    fill_leaves_behind(f, r);
}

/* A caller that was left behind lately has a fifth of the time. */
void pace_joins(struct fill *f, struct fill_reader *r) {
    unsigned n = f->pace.n_left < PACE_CALLERS ? f->pace.n_left : PACE_CALLERS;
    for (unsigned i = 0; i < n; i++) {
        if (memcmp(&f->pace.left[i], &r->spec.caller, sizeof(r->spec.caller)) == 0)
            r->held_up_ms = grace_ms(f) - grace_ms(f) / 5;
    }
}

void pace_tick(struct fill *f, int64_t ms) {
    bool waits = somebody_waits(f);
    for (struct fill_reader *r = fill_first_reader(f); r; r = r->next) {
        if (is_left(r)) continue;
        bool to_blame = waits && at_hand(f, r) > FILL_TELL;
        r->held_up_ms += to_blame ? ms : -FORGIVEN * ms;
        if (r->held_up_ms < 0) r->held_up_ms = 0;
        if (to_blame && r->held_up_ms >= grace_ms(f)) leave_behind(f, r);
    }
}
