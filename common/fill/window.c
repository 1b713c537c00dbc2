/* Memory for a fill that cannot write to the disk. It is taken from the budget pass_through before the window is
 * opened, and given back as readers advance. If none is left, a new fill is refused, and a fill in mid-body stops
 * fetching until there is some. Thread: fetch loop. */
#include "common/fill/fill_private.h"

#include "common/core/budget.h"

/* Bytes from `from` to the end; INT64_MAX if the size is unknown or only claimed. */
static int64_t bytes_to_come(const struct fill *f, int64_t from) {
    int64_t size = shared_size(&f->shared);
    return size < 0 || shared_size_is_claimed(&f->shared) || from > size ? INT64_MAX : size - from;
}

void fill_window_fini(struct fill *f) {
    budget_give(BUDGET_PASS_THROUGH, f->window.bytes);
}

bool fill_window_take(struct fill *f) {
    if (f->window.bytes > 0) return true;
    int64_t rest = bytes_to_come(f, intake_written(f)), most = rest < FILL_WINDOW ? rest : FILL_WINDOW;
    int64_t least = rest < FILL_WINDOW_MIN ? rest : FILL_WINDOW_MIN;
    if (most <= 0) most = least = 1;
    if (budget_try(BUDGET_PASS_THROUGH, most))
        f->window.bytes = most;
    else if (least < most && budget_try(BUDGET_PASS_THROUGH, least))
        f->window.bytes = least;
    return f->window.bytes > 0;
}

/* Gives back memory that will not be used any more. If a size was wrong, or bytes were taken back to before the window,
 * the fill needs more than it has: that is taken even over the budget, because the fill would never end otherwise. */
void fill_window_settle(struct fill *f) {
    int64_t rest = bytes_to_come(f, fill_bytes_window_floor(f));
    int64_t least = rest < FILL_WINDOW_MIN ? rest : FILL_WINDOW_MIN;
    if (rest < f->window.bytes) {
        budget_give(BUDGET_PASS_THROUGH, f->window.bytes - rest);
        f->window.bytes = rest;
    } else if (least > f->window.bytes) {
        budget_force(BUDGET_PASS_THROUGH, least - f->window.bytes);
        f->window.bytes = least;
    }
}

bool fill_window_full(struct fill *f) {
    fill_window_settle(f);
    int64_t floor = fill_bytes_window_floor(f);
    /* Bytes that are gathered before the next write come on top. */
    return bytes_to_come(f, floor) > f->window.bytes && intake_written(f) - floor > f->window.bytes - FILL_GATHER;
}

void fill_window_stop_waiting(struct fill *f) {
    fill_shard(f)->n_waiting -= f->window.waits;
    f->window.waits = false;
}

bool fill_window_may_go_on(struct fill *f) {
    if (f->window.waits && !fill_window_take(f)) {
        fill_retry_in(f, FILL_WINDOW_TRY_MS);
        return false;
    }
    fill_window_stop_waiting(f);
    return true;
}

/* Called when all written bytes are hashed. */
enum fill_step fill_window_await(struct fill *f) {
    f->window.waits = true;
    fill_shard(f)->n_waiting++;
    fill_retry_in(f, FILL_WINDOW_TRY_MS);
    return STEP_WAITING;
}

enum fill_step fill_window_wait(struct fill *f) {
    log_info("fill_waits_for_memory", KV_I("have", intake_written(f)), KV_S("request_id", f->spec.request_id));
    budget_refused(BUDGET_PASS_THROUGH);
    plan_leave(f);
    intake_drop(f);
    fill_tell(f);
    return check_then(f, STEP_AWAITING_ROOM);
}

/* Called when the disk is known to take nothing and no reader has been promised anything yet. Fills that wait in
 * mid-body come first, because their clients would be cut. */
enum fill_step fill_window_refused(struct fill *f) {
    if (fill_bytes_have_part(f) || f->window.bytes > 0 || (fill_shard(f)->n_waiting == 0 && fill_window_take(f)))
        return STEP_STAY;
    struct fetch_end end;
    budget_refused(BUDGET_PASS_THROUGH);
    fetch_end_set(&end, ERR_BUSY,
                  "the disk takes no more, and the memory for passing it on is in use "
                  "(memory.pass_through): try again");
    return fill_fail(f, &end);
}
