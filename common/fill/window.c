/* Memory for a fill that cannot write to the disk. It is taken from the budget pass_through before the window is
 * opened, and given back as readers advance. If none is left, a new fill is refused, and a fill in mid-body stops
 * fetching until there is some. Thread: fetch loop. */
#include "common/fill/fill_private.h"

#include "common/core/alloc.h"
#include "common/core/budget.h"

/* --- the budget --- */

/* Those that have windows, or wait for one. */
struct window_caller {
    int64_t bytes;    /* taken from the budget */
    unsigned waiting; /* fills in mid-body */
};

void fill_window_callers_init(struct window_callers *w) {
    pthread_mutex_init(&w->lock, NULL);
    w->map = map_new(free);
}

void fill_window_callers_fini(struct window_callers *w) {
    map_free(w->map);
    pthread_mutex_destroy(&w->lock);
}

/* Locks. NULL: it has nothing and waits for nothing. */
static struct window_caller *find_caller(const struct fill *f) {
    struct window_callers *w = &f->engine->window_callers;
    pthread_mutex_lock(&w->lock);
    return map_get(w->map, &f->spec.caller, sizeof(f->spec.caller));
}

/* What its caller has changes; unlocks. */
static void change(const struct fill *f, struct window_caller *c, int64_t bytes, int waiting) {
    struct window_callers *w = &f->engine->window_callers;
    if (!c) {
        c = xcalloc(1, sizeof(*c));
        map_set(w->map, &f->spec.caller, sizeof(f->spec.caller), c);
    }
    c->bytes += bytes;
    c->waiting += (unsigned)waiting;
    if (c->bytes == 0 && c->waiting == 0) map_del(w->map, &f->spec.caller, sizeof(f->spec.caller));
    pthread_mutex_unlock(&w->lock);
}

/* True if the caller has nothing yet, or would not have more than is left then. The node's own work is no caller's. */
static bool leaves_enough(const struct fill *f, const struct window_caller *c, int64_t more) {
    struct budget_state s;
    budget_read(BUDGET_PASS_THROUGH, &s);
    return !c || c->bytes == 0 || f->spec.caller.kind == CALLER_SELF || c->bytes + more <= s.limit - s.used - more;
}

static bool try_take(struct fill *f, int64_t bytes) {
    struct window_caller *c = find_caller(f);
    bool ok = leaves_enough(f, c, bytes) && budget_try(BUDGET_PASS_THROUGH, bytes);
    if (ok) f->window.bytes += bytes;
    change(f, c, ok ? bytes : 0, 0);
    return ok;
}

/* Gives back what is more than that, or takes what is missing even over the budget. */
static void set_bytes(struct fill *f, int64_t bytes) {
    int64_t more = bytes - f->window.bytes;
    if (more == 0) return;
    if (more > 0)
        budget_force(BUDGET_PASS_THROUGH, more);
    else
        budget_give(BUDGET_PASS_THROUGH, -more);
    f->window.bytes = bytes;
    change(f, find_caller(f), more, 0);
}

static bool waits_for_first(const void *key, size_t key_len, void *value, void *arg) {
    (void)key;
    (void)key_len;
    const struct window_caller *c = value;
    *(bool *)arg = c->waiting > 0 && c->bytes == 0;
    return !*(bool *)arg;
}

/* True if fills in mid-body wait for memory that f would take: its own caller's, or one of a caller that has none. */
static bool others_come_first(const struct fill *f) {
    struct window_caller *c = find_caller(f);
    bool first = c && c->waiting > 0;
    if (!first) map_each(f->engine->window_callers.map, waits_for_first, &first);
    pthread_mutex_unlock(&f->engine->window_callers.lock);
    return first;
}

/* --- windows --- */

/* Bytes from `from` to the end; INT64_MAX if the size is unknown or only claimed. */
static int64_t bytes_to_come(const struct fill *f, int64_t from) {
    int64_t size = shared_size(&f->shared);
    return size < 0 || shared_size_is_claimed(&f->shared) || from > size ? INT64_MAX : size - from;
}

void fill_window_fini(struct fill *f) {
    set_bytes(f, 0);
}

bool fill_window_take(struct fill *f) {
    if (f->window.bytes > 0) return true;
    int64_t rest = bytes_to_come(f, intake_written(f)), most = rest < FILL_WINDOW ? rest : FILL_WINDOW;
    int64_t least = rest < FILL_WINDOW_MIN ? rest : FILL_WINDOW_MIN;
    if (most <= 0) most = least = 1;
    return try_take(f, most) || (least < most && try_take(f, least));
}

/* Gives back memory that will not be used any more. If a size was wrong, or bytes were taken back to before the window,
 * the fill needs more than it has: that is taken even over the budget, because the fill would never end otherwise. */
void fill_window_settle(struct fill *f) {
    int64_t rest = bytes_to_come(f, fill_bytes_window_floor(f));
    int64_t least = rest < FILL_WINDOW_MIN ? rest : FILL_WINDOW_MIN;
    if (rest < f->window.bytes)
        set_bytes(f, rest);
    else if (least > f->window.bytes)
        set_bytes(f, least);
}

bool fill_window_full(struct fill *f) {
    fill_window_settle(f);
    int64_t floor = fill_bytes_window_floor(f);
    /* Bytes that are gathered before the next write come on top. */
    return bytes_to_come(f, floor) > f->window.bytes && intake_written(f) - floor > f->window.bytes - FILL_GATHER;
}

void fill_window_stop_waiting(struct fill *f) {
    if (f->window.waits) change(f, find_caller(f), 0, -1);
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
    change(f, find_caller(f), 0, 1);
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
    if (fill_bytes_have_part(f) || f->window.bytes > 0 || (!others_come_first(f) && fill_window_take(f)))
        return STEP_STAY;
    struct fetch_end end;
    budget_refused(BUDGET_PASS_THROUGH);
    fetch_end_set(&end, ERR_BUSY,
                  "the disk takes no more, and the memory for passing it on is in use "
                  "(memory.pass_through): try again");
    return fill_fail(f, &end);
}
