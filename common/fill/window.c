/* The bytes of memory that a fill may have when the disk takes no more: taken from the budget pass_through before the
 * window is opened, given back as readers get on. Without them a new fill is refused, and one in mid-body leaves its
 * source until there are some. Thread: fetch loop. */
#include "common/fill/fill_private.h"

#include "common/core/budget.h"

/* From the window's start on, as far as is known; a claim may be wrong. */
static int64_t bytes_to_come(const struct fill *f, int64_t from) {
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    return size < 0 || fill_size_is_claimed(f) || from > size ? INT64_MAX : size - from;
}

bool fill_window_take(struct fill *f) {
    if (f->window_bytes > 0) return true;
    int64_t rest = bytes_to_come(f, f->written), most = rest < FILL_WINDOW ? rest : FILL_WINDOW;
    int64_t least = rest < FILL_WINDOW_MIN ? rest : FILL_WINDOW_MIN;
    if (most <= 0) most = least = 1;
    if (budget_try(BUDGET_PASS_THROUGH, most))
        f->window_bytes = most;
    else if (least < most && budget_try(BUDGET_PASS_THROUGH, least))
        f->window_bytes = least;
    return f->window_bytes > 0;
}

/* Gives back what will not be filled any more. Where a size was wrong, or bytes were taken back to before the window,
 * it needs more than it has taken: without that it would never get on. */
void fill_window_settle(struct fill *f) {
    int64_t rest = bytes_to_come(f, atomic_load_explicit(&f->window_floor, memory_order_relaxed));
    int64_t least = rest < FILL_WINDOW_MIN ? rest : FILL_WINDOW_MIN;
    if (rest < f->window_bytes) {
        budget_give(BUDGET_PASS_THROUGH, f->window_bytes - rest);
        f->window_bytes = rest;
    } else if (least > f->window_bytes) {
        budget_force(BUDGET_PASS_THROUGH, least - f->window_bytes);
        f->window_bytes = least;
    }
}

bool fill_window_full(struct fill *f) {
    fill_window_settle(f);
    int64_t floor = atomic_load_explicit(&f->window_floor, memory_order_relaxed);
    /* What is gathered meanwhile comes on top. */
    return bytes_to_come(f, floor) > f->window_bytes && f->written - floor > f->window_bytes - FILL_GATHER;
}

void fill_window_stop_waiting(struct fill *f) {
    fill_shard(f)->n_waiting -= f->waits_for_window;
    f->waits_for_window = false;
}

/* All that is written is hashed. */
static void wait_for_window(struct fill *f) {
    f->step = STEP_WAITING;
    f->waits_for_window = true;
    fill_shard(f)->n_waiting++;
    timer_set(&f->retry, FILL_WINDOW_TRY_MS);
}

void fill_window_wait(struct fill *f) {
    log_info("fill_waits_for_memory", KV_I("have", f->written), KV_S("request_id", f->spec.request_id));
    budget_refused(BUDGET_PASS_THROUGH);
    if (f->fetch) fetch_cancel(f->fetch);
    f->fetch = NULL;
    fill_nobody_sends(f);
    intake_drop(f);
    fill_tell(f);
    check_then(f, wait_for_window);
}

/* It is known that nothing can be kept, and nobody has been promised anything yet. Those that wait in mid-body are
 * first to get what there is. */
bool fill_window_refused(struct fill *f) {
    if (f->part || f->window_bytes > 0 || (fill_shard(f)->n_waiting == 0 && fill_window_take(f))) return false;
    struct fetch_end end;
    budget_refused(BUDGET_PASS_THROUGH);
    fetch_end_set(&end, ERR_BUSY,
                  "the disk takes no more, and the memory for passing it on is in use "
                  "(memory.pass_through): try again");
    fill_fail(f, &end);
    return true;
}
