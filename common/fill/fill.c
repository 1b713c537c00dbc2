/* The life of one fill. Thread: its fetch loop, but for what is marked.
 *
 *                 ┌───────────── RETRYING ◀───────────┬─ wrong, cut off ─┐
 *                 ▼                                   │                  │
 *   fill_start ─▶ WAITING ─▶ FETCHING ─▶ CHECKING ─▶ JUDGING ─▶ FINISHING ─▶ COMMITTING ─▶ OVER
 *                 │              ▲        ▲   │                                              ▲
 *                 └▶ REOPENING ──┼────────┘   │                                              │
 *                                └─ RESUMING ◀┘              from anywhere: failed, paused ──┘
 *
 * WAITING: the next try, or the first, is due. REOPENING: it begins with what an earlier life has left (opening.c).
 * FETCHING: a source sends (plan.c, intake.c); each piece is checked against the catalogue's proof (check.c).
 * CHECKING: nothing comes for now, and the last bytes are being hashed. After a fetch that has ended the next step is
 * JUDGING; of bytes that an earlier life has left RESUMING; of pieces fetched ahead FETCHING; where nothing has room
 * for more AWAITING_ROOM, which waits for it. A wrong piece takes back that piece and what follows (fill_rewind),
 * nothing before it, and leads through REJECTING (the source is left) and CHECKING (what it sent before) to RETRYING.
 * Between FINISHING and COMMITTING a large manifest is READING: the work pool parses it.
 * All steps stand in step.h. */
#include "common/fill/fill_private.h"

#include "common/core/alloc.h"

#include <assert.h>

#define TICK_MS 250

/* --- references and the table --- */

void fill_ref(struct fill *f) {
    atomic_fetch_add_explicit(&f->life.refs, 1, memory_order_relaxed);
}

void fill_unref(struct fill *f) {
    if (atomic_fetch_sub_explicit(&f->life.refs, 1, memory_order_acq_rel) > 1) return;
    fill_window_fini(f);
    fill_bytes_fini(f);
    aside_fini(f);
    keep_fini(f);
    check_fini(f);
    shared_fini(&f->shared);
    free(f);
}

struct fill_shard *fill_shard(struct fill *f) {
    return fill_shard_of(f->engine, &f->spec.digest);
}

static void leave_table(struct fill *f) {
    if (!f->life.in_table) return;
    f->life.in_table = false;
    map_take(fill_shard(f)->table, &f->spec.digest, sizeof(f->spec.digest));
}

/* Releases everything of the fetch loop's; readers may still use the memory and the files. */
static enum fill_step fill_over(struct fill *f) {
    leave_table(f);
    fill_window_stop_waiting(f);
    stretch_over(f);
    aside_over(f);
    intake_drop(f);
    timer_fini(&f->life.retry);
    timer_fini(&f->life.tick);
    timer_fini(&f->life.linger);
    if (f->life.prev)
        f->life.prev->life.next = f->life.next;
    else
        fill_shard(f)->all = f->life.next;
    if (f->life.next) f->life.next->life.prev = f->life.prev;
    fill_shard_check_stopped(fill_shard(f));
    atomic_fetch_sub_explicit(&f->engine->running, 1, memory_order_relaxed);
    fill_unref(f);
    return STEP_STAY;
}

static struct fill *fill_new(struct fill_shard *sh, const struct fill_spec *spec) {
    struct fill *f = xcalloc(1, sizeof(*f));
    atomic_init(&f->life.refs, 1);
    f->engine = sh->engine;
    f->loop = sh->loop;
    f->spec = *spec;
    shared_init(&f->shared);
    f->life.step = STEP_OVER;
    return f;
}

struct fill *fill_of_held(struct fill_shard *sh, const struct fill_spec *spec, struct open_file *file,
                          const struct blob_info *info) {
    struct fill *f = fill_new(sh, spec);
    fill_bytes_init_held(f, file);
    intake_goes_on_from(f, info->size);
    static const struct source disk = {.name = "disk"};
    shared_flows(&f->shared, &disk);
    if (info->media_type) shared_set_media_type(&f->shared, info->media_type);
    shared_set_manifest(&f->shared, spec->manifest && info->media_type);
    shared_proved(&f->shared, info->size);
    return f;
}

struct fill *fill_of_error(struct fill_shard *sh, const struct fill_spec *spec, const struct fetch_end *end) {
    struct fill *f = fill_new(sh, spec);
    fill_bytes_init(f, false);
    shared_failed(&f->shared, end);
    return f;
}

enum fill_step fill_step(const struct fill *f) {
    return f->life.step;
}

void fill_retry_in(struct fill *f, int64_t ms) {
    timer_set(&f->life.retry, ms);
}

/* --- readers --- */

void fill_notify_readers(struct fill *f) {
    f->life.told = shared_visible(&f->shared);
    for (struct fill_reader *r = f->life.readers.first; r; r = r->next)
        loop_post_once(r->loop, &r->notify);
}

struct fill_reader *fill_first_reader(const struct fill *f) {
    return f->life.readers.first;
}

bool fill_is_shared(const struct fill *f) {
    return f->life.readers.n > 1;
}

void fill_reader_joins(struct fill *f, struct fill_reader *r) {
    r->next = f->life.readers.first;
    f->life.readers.first = r;
    f->life.readers.n++;
    fill_ref(f);
    r->rewinds_seen = shared_rewinds(&f->shared);
    atomic_store_explicit(&r->fill, f, memory_order_release);
    pace_joins(f, r);
    loop_post_once(r->loop, &r->notify);
    if (f->life.step == STEP_OVER) return;
    timer_clear(&f->life.linger);
    if (f->life.readers.n == 2) fill_go(f, check_is_shared(f));
}

void fill_leaves_behind(struct fill *f, struct fill_reader *r) {
    atomic_store_explicit(&r->left_behind, true, memory_order_release);
    f->life.readers.n--;
    loop_post_once(r->loop, &r->notify);
}

void fill_reader_leaves(struct fill *f, struct fill_reader *r) {
    for (struct fill_reader **link = &f->life.readers.first; *link; link = &(*link)->next) {
        if (*link != r) continue;
        *link = r->next;
        if (!atomic_load_explicit(&r->left_behind, memory_order_relaxed)) f->life.readers.n--;
        break;
    }
    f->life.wanted_later = f->life.wanted_later || r->will_return;
    if (f->life.step != STEP_OVER && f->life.readers.n == 0) timer_set(&f->life.linger, FILL_LINGER_MS);
    if (plan_is_paused(f)) fill_poke(f);
}

/* Closes it, keeping the part file; readers are told ERR_CANCELLED. */
static void fill_stop(struct fill *f) {
    if (f->life.step == STEP_OVER || keep_is_ending(f)) return;
    struct fetch_end end;
    fetch_end_set(&end, ERR_CANCELLED, "the download was stopped%s",
                  fill_bytes_are_kept(f) ? "; its bytes are kept" : "");
    fill_go(f, fill_fail(f, &end));
}

/* The last reader left a while ago: the fill goes on only if more than half has come, or if the reader left because the
 * source takes long to answer. */
static void on_linger(void *arg) {
    struct fill *f = arg;
    int64_t size = shared_size(&f->shared);
    if (f->life.readers.n > 0 || keep_is_ending(f)) return;
    if (f->life.wanted_later && !plan_has_flowed(f)) {
        timer_set(&f->life.linger, FILL_LINGER_MS);
        return;
    }
    bool worth_it = size >= 0 && intake_written(f) * 2 > size && !fill_bytes_in_window(f);
    if (!worth_it) fill_stop(f);
}

/* --- what is visible --- */

/* Shows all but the last piece, which waits for the whole digest, and what must be checked first. */
void fill_publish(struct fill *f) {
    int64_t size = shared_size(&f->shared);
    int64_t limit = size >= 0 ? (size > 0 ? piece_start(size - 1) : 0) : intake_written(f) - PIECE_SIZE;
    int64_t checked = check_shows_below(f);
    if (limit > checked) limit = checked;
    int64_t visible = intake_written(f) < limit ? intake_written(f) : limit;
    if (visible < 0) visible = 0;
    shared_show(&f->shared, visible);
    /* Readers wait for the first bytes; later a wake-up is only worth it for more. */
    bool enough =
        f->life.told < FILL_TELL || visible - f->life.told >= FILL_TELL || visible < f->life.told || visible == limit;
    if (enough) fill_tell(f);
}

void fill_tell(struct fill *f) {
    if (shared_visible(&f->shared) != f->life.told) fill_notify_readers(f);
}

/* --- failing --- */

enum fill_step fill_fail(struct fill *f, const struct fetch_end *end) {
    f->life.end = *end;
    return STEP_FAILED;
}

static enum fill_step fill_end_failed(struct fill *f) {
    const struct fetch_end *end = &f->life.end;
    /* "Not found" is a proper answer, and no failure. */
    bool refused = (end->code == ERR_NOT_FOUND || end->code == ERR_DENIED) && intake_written(f) == 0;
    if (!refused) {
        char digest[DIGEST_STR_MAX];
        atomic_fetch_add_explicit(&f->engine->failed, 1, memory_order_relaxed);
        log_warn("fill_failed", KV_S("digest", digest_str(&f->spec.digest, digest)), KV_S("why", end->msg),
                 KV_I("have", intake_written(f)), KV_S("request_id", f->spec.request_id));
    }
    shared_failed(&f->shared, end);
    fill_bytes_close(f);
    fill_notify_readers(f);
    return STEP_OVER;
}

void fill_stop_all(struct fill_shard *sh) {
    for (struct fill *f = sh->all, *next; f; f = next) {
        next = f->life.next;
        fill_stop(f);
    }
}

static void on_retry(void *arg) {
    struct fill *f = arg;
    if (!fill_window_may_go_on(f)) return;
    fill_go(f, check_is_reopened(f) && plan_has_sources(f) ? STEP_REOPENING : STEP_FETCHING);
}

static enum fill_step fill_wait(struct fill *f) {
    (void)f;
    return STEP_STAY;
}

/* --- from step to step --- */

static enum fill_step (*const steps[])(struct fill *f) = {
#define FILL_STEP(name, fn) [STEP_##name] = (fn),
    FILL_STEPS(FILL_STEP)
#undef FILL_STEP
};

void fill_go(struct fill *f, enum fill_step next) {
    if (next == STEP_STAY) return; /* every 16 KiB that come end so */
    fill_ref(f);
    while (next != STEP_STAY) {
        assert(f->life.step != STEP_OVER);
        f->life.step = next;
        next = steps[next](f);
    }
    fill_unref(f);
}

/* --- from outside --- */

void fill_poke(struct fill *f) {
    fill_ref(f);
    if (!loop_post_once(f->loop, &f->life.consumed_task)) fill_unref(f);
}

static void on_consumed(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, life.consumed_task);
    plan_hold_back(f);
    fill_unref(f);
}

static void on_tick(void *arg) {
    struct fill *f = arg;
    timer_set(&f->life.tick, TICK_MS);
    plan_tick(f, TICK_MS);
    pace_tick(f, TICK_MS);
}

struct fill *fill_start(struct fill_shard *sh, const struct fill_spec *spec, bool unshared) {
    struct fill *f = fill_new(sh, spec);
    f->life.step = STEP_WAITING;
    f->life.consumed_task.fn = on_consumed;
    timer_init(&f->life.retry, f->loop, on_retry, f);
    timer_init(&f->life.tick, f->loop, on_tick, f);
    timer_init(&f->life.linger, f->loop, on_linger, f);
    fill_bytes_init(f, !unshared);
    check_init(f);
    f->life.next = sh->all;
    if (f->life.next) f->life.next->life.prev = f;
    sh->all = f;
    if (!unshared) {
        f->life.in_table = true;
        map_set(sh->table, &f->spec.digest, sizeof(f->spec.digest), f);
    }
    atomic_fetch_add_explicit(&f->engine->running, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&f->engine->started, 1, memory_order_relaxed);
    const struct fill_engine_config *cfg = &f->engine->cfg;
    char scope[REPO_STR_MAX];
    keep_add_scope(f, cfg->scope(spec, scope, cfg->arg));
    plan_init(f);
    timer_set(&f->life.tick, TICK_MS);
    if (cfg->ask_catalogue) {
        f->life.advice_pending = true;
        fill_ref(f);
        cfg->ask_catalogue(f, spec, cfg->arg);
    }
    fill_open(f);
    return f;
}

/* The source's length is not the one that the catalogue has seen. Nobody can have the whole, because the last piece is
 * withheld. */
static enum fill_step contradicted(struct fill *f, int64_t seen) {
    stretch_forget_ahead(f);
    shared_hide(&f->shared, 0);
    shared_set_size(&f->shared, seen, SIZE_KNOWN);
    if (intake_taken(f) > seen) fill_rewind(f, 0);
    fill_publish(f);
    return f->life.step == STEP_FETCHING ? plan_source_was_wrong(f, "another length than it was") : STEP_STAY;
}

static enum fill_step advise_size(struct fill *f, const struct fill_advice *a) {
    int64_t known = shared_size(&f->shared);
    if (a->size < 0 || (a->claimed && known >= 0)) return STEP_STAY;
    bool fits = known >= 0 ? known == a->size : intake_taken(f) <= a->size;
    if (!fits) return a->claimed ? STEP_STAY : contradicted(f, a->size);
    shared_set_size(&f->shared, a->size, a->claimed ? SIZE_CLAIMED : SIZE_KNOWN);
    return STEP_STAY;
}

void fill_advise(struct fill *f, const struct fill_advice *a) {
    assert(f->life.advice_pending);
    f->life.advice_pending = false;
    if (f->life.step == STEP_OVER || keep_is_ending(f)) {
        fill_unref(f);
        return;
    }
    fill_go(f, advise_size(f, a));
    if (f->life.step != STEP_OVER && a->proofs && a->n_proofs) {
        stretch_forget_ahead(f); /* it came unchecked, and could have been checked now */
        fill_go(f, check_advise(f, a->proofs, a->n_proofs));
    }
    if (f->life.step != STEP_OVER) fill_notify_readers(f);
    fill_unref(f);
}
