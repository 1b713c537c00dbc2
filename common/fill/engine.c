/* The table of fills, and the functions by which readers attach to them, follow them and leave. Each digest belongs to
 * one fetch loop, and readers reach it by message, so joining and starting cannot race. Thread: each function says. */
#include "common/fill/fill_private.h"

#include "common/core/alloc.h"
#include "common/source/ask.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct fill_shard *fill_shard_of(struct fill_engine *e, const struct digest *d) {
    /* Digests are uniform: their first bytes will do. */
    return &e->shards[d->bytes[0] % e->n_shards];
}

/* --- the reader on its serving loop --- */

static void on_notify(struct loop_task *task) {
    struct fill_reader *r = container_of(task, struct fill_reader, notify);
    if (!r->detached) r->event(r, r->arg);
}

static void on_gone(struct loop_task *task) {
    struct fill_reader *r = container_of(task, struct fill_reader, gone);
    struct fill *f = atomic_load_explicit(&r->fill, memory_order_acquire);
    if (f) fill_unref(f);
    free(r);
}

static struct fill *fill_of(const struct fill_reader *r) {
    return atomic_load_explicit(&r->fill, memory_order_acquire);
}

/* True if bytes this reader was given have been taken back since. */
static bool is_cut(struct fill_reader *r, const struct fill *f) {
    unsigned rewinds = shared_rewinds(&f->shared);
    if (rewinds != r->rewinds_seen) {
        r->rewinds_seen = rewinds;
        if (r->handed > shared_rewind_floor(&f->shared)) r->is_cut = true;
    }
    return r->is_cut;
}

enum fill_state fill_reader_state(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    if (!f) return FILL_STARTING;
    if (is_cut((struct fill_reader *)(uintptr_t)r, f)) return FILL_FAILED;
    return (enum fill_state)shared_state(&f->shared);
}

int64_t fill_reader_size(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    return f ? shared_size(&f->shared) : -1;
}

int64_t fill_reader_settled_size(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    return f ? shared_settled_size(&f->shared) : -1;
}

const char *fill_reader_media_type(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    return f && shared_state(&f->shared) == FILL_PROVED ? shared_media_type(&f->shared) : "";
}

bool fill_reader_is_manifest(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    return f && shared_state(&f->shared) == FILL_PROVED && shared_is_manifest(&f->shared);
}

const char *fill_reader_source(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    return f ? shared_source_name(&f->shared) : "";
}

bool fill_reader_source_stands_in(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    return f && shared_source_stands_in(&f->shared);
}

bool fill_reader_joined(const struct fill_reader *r) {
    return fill_of(r) && r->joined;
}

const struct fetch_end *fill_reader_trouble(const struct fill_reader *r) {
    struct fill *f = fill_of(r);
    return f ? shared_trouble(&f->shared) : NULL;
}

void fill_reader_will_return(struct fill_reader *r) {
    r->will_return = true;
}

bool fill_reader_settle(struct fill_reader *r, const struct fill_want *want) {
    struct fill *f = fill_of(r);
    int64_t before = atomic_load_explicit(&r->consumed, memory_order_relaxed);
    r->part = !want->whole;
    r->told_size = want->size;
    atomic_store_explicit(&r->until, want->whole ? INT64_MAX : want->end, memory_order_relaxed);
    /* The order matters, see fill_bytes_drop_consumed: set this first, then read the floor. */
    atomic_store_explicit(&r->consumed, want->start, memory_order_seq_cst);
    r->lost = want->start < before && (!f || fill_bytes_dropped(f, want->start));
    return !r->lost;
}

/* How far r may read of the contiguous bytes. */
static int64_t limit_for(const struct fill_reader *r, const struct fill *f) {
    bool proved = shared_state(&f->shared) == FILL_PROVED;
    int64_t end = shared_visible(&f->shared);
    int64_t proven = shared_proven(&f->shared);
    /* The client cannot check a part, so where pieces have proofs it waits for them. */
    if (r->part) return proven > 0 && end > proven ? proven : end;
    /* Whatever the fill shows, a whole is complete only when it is proved. */
    return !proved && r->told_size >= 0 && end >= r->told_size ? r->told_size - 1 : end;
}

int64_t fill_reader_bytes(struct fill_reader *r, int64_t pos, int64_t want, struct open_file **file, int64_t *at) {
    struct fill *f = fill_of(r);
    if (!f || is_cut(r, f)) return 0;
    int64_t end = limit_for(r, f), n = 0;
    if (r->lost || (r->told_size >= 0 && fill_reader_size(r) != r->told_size)) return FILL_CUT;
    if (pos < end) {
        n = end - pos < want ? end - pos : want;
        *file = fill_bytes_at(f, pos, atomic_load_explicit(&r->consumed, memory_order_relaxed), &n);
        *at = pos;
        if (!*file) return FILL_CUT;
    } else if (r->part) {
        n = aside_find(f, pos, file, at);
        if (n > want) n = want;
    }
    if (n == 0) return 0;
    /* Bytes were taken back since the check above, so what is visible now may differ from what r was given before. An
     * event follows. */
    if (shared_rewinds(&f->shared) != r->rewinds_seen) {
        open_file_unref(*file);
        return 0;
    }
    if (pos + n > r->handed) r->handed = pos + n;
    return n;
}

bool fill_reader_sees(const struct fill_reader *r, int64_t pos) {
    struct fill *f = fill_of(r);
    struct open_file *file = NULL;
    int64_t at;
    if (!f) return false;
    if (pos < shared_visible(&f->shared)) return true;
    bool ahead = aside_find(f, pos, &file, &at) > 0;
    open_file_unref(file);
    return ahead;
}

void fill_reader_consumed(struct fill_reader *r, int64_t pos) {
    atomic_store_explicit(&r->consumed, pos, memory_order_relaxed);
    struct fill *f = fill_of(r);
    if (f && fill_bytes_want_consumed(f)) fill_poke(f);
}

bool fill_reader_left_behind(const struct fill_reader *r) {
    return atomic_load_explicit(&r->left_behind, memory_order_acquire);
}

void fill_reader_stand_aside(struct fill_reader *r) {
    r->lost = true;
    atomic_store_explicit(&r->consumed, INT64_MAX, memory_order_seq_cst);
    struct fill *f = fill_of(r);
    if (f && fill_bytes_want_consumed(f)) fill_poke(f);
}

const struct fetch_end *fill_reader_error(const struct fill_reader *r) {
    static const struct fetch_end taken_back = {.code = ERR_MISMATCH,
                                                .msg = "bytes already sent did not match their digest"};
    static const struct fetch_end none = {.code = 0};
    struct fill *f = fill_of(r);
    if (r->is_cut) return &taken_back;
    if (!f || shared_state(&f->shared) != FILL_FAILED) return &none;
    return shared_end(&f->shared);
}

/* --- attaching, on the fetch loop --- */

static void join(struct fill_reader *r, struct fill *f, bool joined) {
    r->joined = joined;
    if (joined) atomic_fetch_add_explicit(&f->engine->joined, 1, memory_order_relaxed);
    if (r->spec.start == 0) keep_add_use(f);
    fill_reader_joins(f, r);
}

/* A fill made for this reader only: drops the fill's own reference. */
static void join_only(struct fill_reader *r, struct fill *f) {
    join(r, f, false);
    fill_unref(f);
}

static void fail_reader(struct fill_shard *sh, struct fill_reader *r, const struct fetch_end *end) {
    join_only(r, fill_of_error(sh, &r->spec, end));
}

static const char *scope_of(struct fill_shard *sh, const struct fill_spec *spec, char out[REPO_STR_MAX]) {
    const struct fill_engine_config *cfg = &sh->engine->cfg;
    return cfg->scope(spec, out, cfg->arg);
}

/* True if the right to the blob is known, or will be found by the fill that this reader starts. */
static bool needs_no_claim(struct fill_shard *sh, const struct fill_spec *spec) {
    struct store *store = sh->engine->cfg.store;
    struct fill *f = map_get(sh->table, &spec->digest, sizeof(spec->digest));
    struct blob_info info;
    char buf[REPO_STR_MAX];
    const char *scope = scope_of(sh, spec, buf);
    if (f && keep_has_scope(f, scope)) return true;
    if (!store_lookup(store, &spec->digest, &info)) return !f;
    return store_lookup_in(store, &spec->digest, store_scope_find(store, scope), &info);
}

/* The reader has a right to the blob: it joins a fill, opens the held blob, or starts a fill. */
static void admit(struct fill_shard *sh, struct fill_reader *r) {
    struct blob_info info;
    struct open_file *file;
    enum store_use use = r->spec.start > 0 ? USE_PART : USE_WHOLE;
    if (store_open_blob(sh->engine->cfg.store, &r->spec.digest, use, &file, &info) == 0) {
        if (!r->spec.manifest || info.media_type) {
            join_only(r, fill_of_held(sh, &r->spec, file, &info));
            return;
        }
        open_file_unref(file); /* held as a plain blob: it is a manifest only if a source says so */
    }
    struct fill *f = map_get(sh->table, &r->spec.digest, sizeof(r->spec.digest));
    bool of_its_kind = f && (f->spec.manifest || !r->spec.manifest);
    if (of_its_kind && !fill_bytes_dropped(f, r->spec.start)) {
        join(r, f, true);
        stretch_wanted_by(f, &r->spec.caller);
        return;
    }
    /* If the running fill's window is past this reader, or the manifest is being fetched as a plain blob, the reader
     * gets a fill of its own. */
    join(r, fill_start(sh, &r->spec, f != NULL), false);
}

/* --- a claim: a blob that is held or being fetched for one repository is wanted by another whose right to it is not
 * known. That repository's own source says whether it has the blob (docs/security.md "Scope") --- */

static void grant(struct fill_shard *sh, const struct fill_spec *spec) {
    struct store *store = sh->engine->cfg.store;
    char buf[REPO_STR_MAX];
    const char *scope = scope_of(sh, spec, buf);
    uint32_t id;
    if (store_lookup(store, &spec->digest, &(struct blob_info){0}) && store_scope(store, scope, &id) == 0)
        store_add_scope(store, &spec->digest, id);
    struct fill *f = map_get(sh->table, &spec->digest, sizeof(spec->digest));
    if (f) keep_add_scope(f, scope);
}

static void on_claimed(const struct ask_answer *a, void *arg) {
    struct fill_reader *r = arg;
    struct fill_shard *sh = fill_shard_of(r->engine, &r->spec.digest);
    r->claim = NULL;
    if (a->end.code != 0) {
        fail_reader(sh, r, &a->end);
        return;
    }
    grant(sh, &r->spec);
    admit(sh, r);
}

static void claim(struct fill_shard *sh, struct fill_reader *r) {
    const struct fill_engine_config *cfg = &sh->engine->cfg;
    struct source *sources[SOURCES_MAX];
    if (cfg->sources(&r->spec, sources, cfg->arg) == 0) {
        struct fetch_end end;
        fetch_end_set(&end, ERR_NOT_FOUND, "not known in this repository");
        fail_reader(sh, r, &end);
        return;
    }
    struct fetch_request rq = {
        .kind = r->spec.manifest ? FETCH_MANIFEST_HEAD : FETCH_BLOB_HEAD,
        .repo = r->spec.repo,
        .caller = r->spec.caller,
        .settings = r->spec.settings,
        .ref = {.is_digest = true, .digest = r->spec.digest},
    };
    memcpy(rq.request_id, r->spec.request_id, sizeof(rq.request_id));
    r->claim = ask(cfg->asker, &rq, &r->spec.deadline, on_claimed, r);
}

static void on_attach(struct loop_task *task) {
    struct fill_reader *r = container_of(task, struct fill_reader, attach);
    struct fill_shard *sh = fill_shard_of(r->engine, &r->spec.digest);
    if (sh->stopping) {
        struct fetch_end end;
        fetch_end_set(&end, ERR_CANCELLED, "this node is shutting down");
        fail_reader(sh, r, &end);
        return;
    }
    if (needs_no_claim(sh, &r->spec))
        admit(sh, r);
    else
        claim(sh, r);
}

static void on_detach(struct loop_task *task) {
    struct fill_reader *r = container_of(task, struct fill_reader, detach);
    if (r->claim) ask_leave(r->claim);
    r->claim = NULL;
    struct fill *f = fill_of(r);
    if (f) fill_reader_leaves(f, r);
    loop_post(r->loop, &r->gone);
}

struct fill_reader *fill_attach(struct fill_engine *e, const struct fill_spec *spec,
                                void (*event)(struct fill_reader *r, void *arg), void *arg) {
    struct fill_reader *r = xcalloc(1, sizeof(*r));
    r->engine = e;
    r->loop = loop_current();
    r->home = fill_shard_of(e, &spec->digest)->loop;
    r->spec = *spec;
    r->event = event;
    r->arg = arg;
    r->told_size = -1;
    atomic_init(&r->consumed, spec->start);
    atomic_init(&r->until, spec->end > 0 ? spec->end : INT64_MAX);
    r->attach.fn = on_attach;
    r->detach.fn = on_detach;
    r->notify.fn = on_notify;
    r->gone.fn = on_gone;
    loop_post(r->home, &r->attach);
    return r;
}

void fill_detach(struct fill_reader *r) {
    assert(!r->detached);
    r->detached = true;
    loop_post(r->home, &r->detach);
}

/* --- the engine --- */

struct fill_engine *fill_engine_new(const struct fill_engine_config *cfg) {
    struct fill_engine *e = xcalloc(1, sizeof(*e));
    e->cfg = *cfg;
    e->n_shards = cfg->n_loops;
    fill_window_callers_init(&e->window_callers);
    kept_manifests_init(&e->kept_manifests);
    e->hashers = workpool_new("hash", cfg->n_loops);
    e->shards = xcalloc(e->n_shards, sizeof(*e->shards));
    for (unsigned i = 0; i < e->n_shards; i++) {
        e->shards[i] = (struct fill_shard){.engine = e, .loop = cfg->loops[i], .table = map_new(NULL)};
    }
    return e;
}

/* Fills that commit end by themselves, and so do those at the hasher. */
void fill_shard_check_stopped(struct fill_shard *sh) {
    struct fill_engine *e = sh->engine;
    if (!sh->all) {
        free(sh->gather);
        sh->gather = NULL;
    }
    if (!sh->stopping || sh->all || sh->n_checks || sh->told) return;
    sh->told = true;
    if (atomic_fetch_sub(&e->shards_running, 1) == 1) e->stopped(e->stopped_arg);
}

static void on_stop(struct loop_task *task) {
    struct fill_shard *sh = container_of(task, struct fill_shard, stop);
    sh->stopping = true;
    fill_stop_all(sh);
    fill_shard_check_stopped(sh);
}

void fill_engine_stop(struct fill_engine *e, void (*done)(void *arg), void *arg) {
    e->stopped = done;
    e->stopped_arg = arg;
    atomic_store(&e->shards_running, e->n_shards);
    for (unsigned i = 0; i < e->n_shards; i++) {
        e->shards[i].stop.fn = on_stop;
        loop_post(e->shards[i].loop, &e->shards[i].stop);
    }
}

void fill_engine_free(struct fill_engine *e) {
    if (!e) return;
    workpool_free(e->hashers);
    fill_window_callers_fini(&e->window_callers);
    kept_manifests_fini(&e->kept_manifests);
    for (unsigned i = 0; i < e->n_shards; i++)
        map_free(e->shards[i].table);
    free(e->shards);
    free(e);
}

bool fill_keeps_manifest(struct fill_engine *e, const struct digest *d, const char *scope) {
    return kept_manifests_have(&e->kept_manifests, d, scope);
}

void fill_engine_stats(const struct fill_engine *e, struct fill_stats *out) {
    *out = (struct fill_stats){
        .running = atomic_load_explicit(&e->running, memory_order_relaxed),
        .started = atomic_load_explicit(&e->started, memory_order_relaxed),
        .joined = atomic_load_explicit(&e->joined, memory_order_relaxed),
        .completed = atomic_load_explicit(&e->completed, memory_order_relaxed),
        .failed = atomic_load_explicit(&e->failed, memory_order_relaxed),
        .mismatches = atomic_load_explicit(&e->mismatches, memory_order_relaxed),
        .resumed_bytes = atomic_load_explicit(&e->resumed_bytes, memory_order_relaxed),
        .passed_through = atomic_load_explicit(&e->passed_through, memory_order_relaxed),
        .left_behind = atomic_load_explicit(&e->left_behind, memory_order_relaxed),
    };
}
