/* What the fill's tests share: sources that do as they are told, over a real store, and readers on several loops. */
#ifndef ENTREPOT_TESTS_FILL_WORLD_H
#define ENTREPOT_TESTS_FILL_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "common/core/file.h"
#include "common/fill/fill.h"
#include "common/source/ask.h"
#include "tests/unit/support/folder.h"
#include "common/store/part.h"

#define MB ((int64_t)1024 * 1024)
#define CHUNK ((int64_t)128 * 1024)
#define SERVING 3
#define WORLD_POOL 2 /* threads of the work pool */

/* --- a source that does as it is told --- */

struct script_fetch;
struct script {
    struct source source; /* first */
    /* Fetch loop; NULL: none. About to hand over these n bytes, a copy: may change them, and says how many go now (0:
     * none yet), or a negative enum err that the fetch ends with. */
    int64_t (*rule)(struct script_fetch *f, unsigned char *chunk, int64_t n);
    const unsigned char *data;
    int64_t size;
    int64_t wrong_at;     /* this byte is flipped, once; -1 */
    int64_t cut_at;       /* the first fetch ends here with ERR_UPSTREAM; -1 */
    _Atomic int64_t gate; /* nothing beyond this offset is sent until it is raised */
    int refuse, status;   /* enum err: every fetch ends with it, and with this HTTP status */
    atomic_int head_gate; /* 1: it does not answer; 2: only a HEAD */
    atomic_bool hide_size;
    const struct digest *names; /* its heads have this digest; NULL: none */
    bool gate_first;            /* the gate is the first fetch's alone */
    int64_t part;               /* bytes handed over at a time; 0: all there is */
    bool at_once; /* the whole body and its end come in one turn of the loop, which takes as long as hashing it does */
    atomic_int starts, heads;
    atomic_int blamed, doubted; /* requests that would avoid this source, that doubt what it sent */
    _Atomic int64_t last_offset, sent;
};

struct script_fetch {
    struct fetch fetch; /* first */
    struct script *s;
    const struct fetch_events *ev;
    void *arg;
    struct timer timer;
    int64_t at, end;
    bool is_head, head_sent, paused, in_callback, cancelled;
    bool ranged; /* a length was asked for */
    int number;
    int64_t fate[2]; /* the rule's */
};

static struct loop *fetch_loop;

static inline void script_free(struct script_fetch *f) {
    timer_fini(&f->timer);
    free(f);
}

static inline void script_end(struct script_fetch *f, int code) {
    struct fetch_end e;
    fetch_end_set(&e, code, "%s: scripted", f->s->source.name);
    e.status = code ? f->s->status : 0;
    f->ev->done(&f->fetch, &e, f->arg);
    script_free(f);
}

static inline bool script_call(struct script_fetch *f, const unsigned char *data, size_t len) {
    f->in_callback = true;
    if (data) {
        size_t part = f->s->part ? (size_t)f->s->part : len;
        for (size_t at = 0; at < len && !f->cancelled; at += part)
            f->ev->data(&f->fetch, data + at, len - at < part ? len - at : part, f->arg);
        if (!f->cancelled && f->ev->lull) f->ev->lull(&f->fetch, f->arg);
    } else {
        struct fetch_head h = {.total = f->s->hide_size ? -1 : f->s->size, .origin = f->s->source.name};
        if (f->s->names) h.has_digest = true, h.digest = *f->s->names;
        snprintf(h.media_type, sizeof(h.media_type), "application/vnd.oci.image.manifest.v1+json");
        f->ev->head(&f->fetch, &h, f->arg);
    }
    f->in_callback = false;
    if (!f->cancelled) return true;
    script_free(f);
    return false;
}

static inline void script_step(void *arg) {
    struct script_fetch *f = arg;
    struct script *s = f->s;
    if (s->refuse) {
        script_end(f, s->refuse);
        return;
    }
    int gate_now = atomic_load(&s->head_gate);
    if (!f->head_sent && (gate_now == 1 || (gate_now == 2 && !f->is_head))) {
        timer_set(&f->timer, 1);
        return;
    }
    if (!f->head_sent) {
        f->head_sent = true;
        if (!script_call(f, NULL, 0)) return;
    }
    if (f->is_head || f->at == f->end) {
        script_end(f, 0);
        return;
    }
    if (s->at_once) {
        if (!script_call(f, s->data + f->at, (size_t)(f->end - f->at))) return;
        struct digest d;
        digest_of(&d, DIGEST_SHA256, s->data, (size_t)s->size);
        script_end(f, 0);
        return;
    }
    if (s->cut_at >= 0 && f->number == 1 && f->at >= s->cut_at) {
        script_end(f, ERR_UPSTREAM);
        return;
    }
    int64_t n = f->end - f->at < CHUNK ? f->end - f->at : CHUNK,
            gate = s->gate_first && f->number > 1 ? INT64_MAX : atomic_load(&s->gate);
    if (s->cut_at >= 0 && f->number == 1 && f->at + n > s->cut_at) n = s->cut_at - f->at;
    if (f->at + n > gate) n = gate - f->at;
    unsigned char chunk[CHUNK];
    if (n > 0 && !f->paused) {
        memcpy(chunk, s->data + f->at, (size_t)n);
        if (s->wrong_at >= f->at && s->wrong_at < f->at + n) {
            chunk[s->wrong_at - f->at] ^= 1;
            s->wrong_at = -1;
        }
        if (s->rule) n = s->rule(f, chunk, n);
        if (n < 0) {
            script_end(f, (int)n);
            return;
        }
    }
    if (n > 0 && !f->paused) {
        f->at += n;
        atomic_fetch_add(&s->sent, n);
        if (!script_call(f, chunk, (size_t)n)) return;
    }
    timer_set(&f->timer, n > 0 ? 0 : 1);
}

static inline struct fetch *script_start(struct source *source, const struct fetch_request *rq,
                                         const struct fetch_events *ev, void *arg) {
    struct script *s = (struct script *)(void *)source;
    struct script_fetch *f = calloc(1, sizeof(*f));
    if (!f) abort();
    *f = (struct script_fetch){
        .fetch = {.source = source}, .s = s, .ev = ev, .arg = arg, .at = rq->offset, .end = s->size};
    f->is_head = rq->kind == FETCH_BLOB_HEAD || rq->kind == FETCH_MANIFEST_HEAD;
    f->ranged = rq->length > 0;
    if (f->ranged) f->end = rq->offset + rq->length;
    if (f->is_head)
        atomic_fetch_add(&s->heads, 1);
    else
        f->number = atomic_fetch_add(&s->starts, 1) + 1;
    if (rq->avoid_origin && strcmp(rq->avoid_origin, s->source.name) == 0) atomic_fetch_add(&s->blamed, 1);
    if (rq->doubted) atomic_fetch_add(&s->doubted, 1);
    atomic_store(&s->last_offset, rq->offset);
    timer_init(&f->timer, fetch_loop, script_step, f);
    timer_set(&f->timer, 0);
    return &f->fetch;
}

static inline void script_cancel(struct fetch *fetch) {
    struct script_fetch *f = (struct script_fetch *)(void *)fetch;
    if (f->in_callback)
        f->cancelled = true;
    else
        script_free(f);
}

static inline void script_pause(struct fetch *fetch) {
    ((struct script_fetch *)(void *)fetch)->paused = true;
}

static inline void script_resume(struct fetch *fetch) {
    ((struct script_fetch *)(void *)fetch)->paused = false;
}

static const struct source_ops script_ops = {script_start, script_cancel, script_pause, script_resume, NULL};

static inline void script_init(struct script *s, const char *name, const unsigned char *data, int64_t size) {
    memset(s, 0, sizeof(*s));
    s->source.ops = &script_ops;
    snprintf(s->source.name, sizeof(s->source.name), "%s", name);
    s->data = data;
    s->size = size;
    s->wrong_at = s->cut_at = -1;
    atomic_init(&s->gate, INT64_MAX);
}

/* --- the world around --- */

static struct {
    char dir[64];
    struct store *store;
    struct workpool *pool;
    struct loop *serving[SERVING];
    struct asker *asker;
    struct fill_engine *engine;
    struct script *sources[2];
    struct script *by_digest; /* instead of sources: the one whose digest it is */
    const struct digest *digests;
    size_t n_by_digest;
    unsigned n_sources;
    const uint8_t *proofs;
    size_t n_proofs;
    int64_t advise_size;
    bool claimed;
    size_t scopes_max;      /* as in struct store_config */
    int64_t slow_reader_ms; /* as in struct fill_engine_config */
    sem_t stopped;
    void (*leave)(void); /* the loops have been joined; NULL: nothing to do */
} world;

static inline unsigned world_sources(const struct fill_spec *spec, struct source *out[SOURCES_MAX], void *arg) {
    (void)arg;
    for (size_t i = 0; i < world.n_by_digest; i++) {
        if (digest_eq(&world.digests[i], &spec->digest)) out[0] = &world.by_digest[i].source;
    }
    for (unsigned i = 0; i < world.n_sources && !world.by_digest; i++)
        out[i] = &world.sources[i]->source;
    return world.n_sources;
}

/* The same for questions. */
static inline unsigned world_sources_of(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg) {
    (void)repo;
    return world_sources(NULL, out, arg);
}

static inline const char *world_scope(const struct fill_spec *spec, char out[REPO_STR_MAX], void *arg) {
    (void)arg;
    return repo_name_str(&spec->repo, out);
}

static inline void world_ask(struct fill *f, const struct fill_spec *spec, void *arg) {
    (void)spec;
    (void)arg;
    struct fill_advice advice = {world.advise_size, world.claimed, world.proofs, world.n_proofs};
    fill_advise(f, &advice);
}

static inline void world_start(int64_t limit) {
    struct error err = {0};
    if (!world.dir[0]) {
        snprintf(world.dir, sizeof(world.dir), "/tmp/entrepot-fill-XXXXXX");
        assert_non_null(mkdtemp(world.dir));
    }
    world.pool = workpool_new("pool", WORLD_POOL);
    struct store_config sc = {.dir = world.dir, .limit = limit, .pool = world.pool, .scopes_max = world.scopes_max};
    if (store_open(&world.store, &sc, &err) != 0) fail_msg("%s", err.msg);
    fetch_loop = loop_new("fetch");
    for (int i = 0; i < SERVING; i++)
        world.serving[i] = loop_new("serving");
    world.asker = asker_new(&(struct asker_config){.loop = fetch_loop, .sources = world_sources_of});
    struct fill_engine_config ec = {.loops = &fetch_loop,
                                    .n_loops = 1,
                                    .store = world.store,
                                    .pool = world.pool,
                                    .asker = world.asker,
                                    .sources = world_sources,
                                    .scope = world_scope,
                                    .ask_catalogue = world_ask,
                                    .slow_reader_ms = world.slow_reader_ms};
    world.engine = fill_engine_new(&ec);
    loop_start(fetch_loop);
    for (int i = 0; i < SERVING; i++)
        loop_start(world.serving[i]);
}

static inline void on_stopped(void *arg) {
    (void)arg;
    sem_post(&world.stopped);
}

/* What the joined loops still have for each other, before any of them goes. */
static inline void world_settle(void) {
    for (bool more = true; more;) {
        more = loop_run_pending(fetch_loop);
        for (int i = 0; i < SERVING; i++)
            more = loop_run_pending(world.serving[i]) || more;
    }
}

static inline void world_stop(void) {
    sem_init(&world.stopped, 0, 0);
    fill_engine_stop(world.engine, on_stopped, NULL);
    sem_wait(&world.stopped);
    for (int i = 0; i < SERVING; i++) {
        loop_stop(world.serving[i]);
        loop_join(world.serving[i]);
    }
    loop_stop(fetch_loop);
    loop_join(fetch_loop);
    world_settle();
    asker_cancel(world.asker);
    world_settle();
    if (world.leave) world.leave();
    loop_free(fetch_loop);
    for (int i = 0; i < SERVING; i++)
        loop_free(world.serving[i]);
    fill_engine_free(world.engine);
    asker_free(world.asker);
    store_close(world.store);
    workpool_free(world.pool);
    world.store = NULL;
}

static inline void world_clean(void) {
    if (folder_remove(world.dir) != 0) fail_msg("cannot remove %s", world.dir);
    memset(&world, 0, sizeof(world));
    world.advise_size = -1;
}

/* --- a reader that takes everything --- */

struct taker {
    struct fill_spec spec;
    struct loop *loop;
    struct fill_reader *r;
    int64_t size;                   /* of the blob */
    int64_t pos, stop_at, max_seen; /* stop_at: leaves there; 0: at the end */
    unsigned char *got;
    bool done;
    int code;
    sem_t over;
};

static inline void taker_leave(struct taker *t, int code) {
    t->done = true;
    t->code = code;
    fill_detach(t->r);
    sem_post(&t->over);
}

static inline void taker_event(struct fill_reader *r, void *arg) {
    struct taker *t = arg;
    if (t->done) return;
    t->r = r;
    if (fill_reader_state(r) == FILL_FAILED) {
        taker_leave(t, fill_reader_error(r)->code);
        return;
    }
    int64_t size = fill_reader_size(r), end = t->spec.end > 0 ? t->spec.end : size;
    for (;;) {
        struct open_file *f;
        int64_t at, want = end >= 0 ? end - t->pos : INT64_MAX;
        int64_t n = want > 0 ? fill_reader_bytes(r, t->pos, want, &f, &at) : 0;
        if (n <= 0) break;
        bool there = pread(open_file_fd(f), t->got + t->pos, (size_t)n, at) == n;
        open_file_unref(f);
        if (!there) { /* only what is taken back at this moment may be gone: who was given it hears of it */
            if (fill_reader_state(r) != FILL_FAILED) abort();
            taker_leave(t, fill_reader_error(r)->code);
            return;
        }
        t->pos += n;
        fill_reader_consumed(r, t->pos);
    }
    if (t->pos > t->max_seen) t->max_seen = t->pos;
    if ((t->stop_at && t->pos >= t->stop_at) ||
        (end >= 0 && t->pos == end && (t->spec.end || fill_reader_state(r) == FILL_PROVED)))
        taker_leave(t, 0);
}

static inline void taker_begin(void *arg) {
    struct taker *t = arg;
    t->r = fill_attach(world.engine, &t->spec, taker_event, t);
    struct fill_want part = {.start = t->spec.start, .end = t->spec.end, .size = -1};
    if (t->spec.end > 0) assert_true(fill_reader_settle(t->r, &part));
}

static inline void taker_init(struct taker *t, int loop, const struct digest *d, int64_t size, const char *repo,
                              int64_t start, int64_t end) {
    memset(t, 0, sizeof(*t));
    t->spec = (struct fill_spec){.digest = *d, .start = start, .end = end};
    snprintf(t->spec.repo.upstream, sizeof(t->spec.repo.upstream), "up");
    snprintf(t->spec.repo.path, sizeof(t->spec.repo.path), "%s", repo);
    t->pos = start;
    t->size = size;
    t->got = calloc(1, (size_t)size + 1);
    sem_init(&t->over, 0, 0);
    t->loop = world.serving[loop % SERVING];
}

static inline void taker_go(struct taker *t) {
    loop_call(t->loop, taker_begin, t);
}

static inline void taker_start(struct taker *t, int loop, const struct digest *d, int64_t size, const char *repo,
                               int64_t start, int64_t end) {
    taker_init(t, loop, d, size, repo, start, end);
    taker_go(t);
}

/* Looks and acts on its own loop. */
struct taker_look {
    struct taker *t;
    enum fill_state state;
    char trouble[256];
    bool will_return;
    sem_t done;
};

static inline void taker_look_run(void *arg) {
    struct taker_look *l = arg;
    const struct fetch_end *trouble = fill_reader_trouble(l->t->r);
    l->state = fill_reader_state(l->t->r);
    if (trouble) snprintf(l->trouble, sizeof(l->trouble), "%s", trouble->msg);
    sem_post(&l->done);
}

static inline struct taker_look taker_look(struct taker *t, void (*run)(void *arg), bool will_return) {
    struct taker_look l = {.t = t, .will_return = will_return};
    sem_init(&l.done, 0, 0);
    loop_call(t->loop, run, &l);
    sem_wait(&l.done);
    return l;
}

static inline void taker_leave_run(void *arg) {
    struct taker_look *l = arg;
    if (l->will_return) fill_reader_will_return(l->t->r);
    taker_leave(l->t, ERR_CANCELLED);
    sem_post(&l->done);
}

static inline int taker_wait(struct taker *t) {
    sem_wait(&t->over);
    return t->code;
}

/* It ends with this code. Frees what it has got. */
static inline void taker_fails(struct taker *t, int code) {
    assert_int_equal(taker_wait(t), code);
    free(t->got);
}

/* It gets all that it asks for of data, the whole blob. Frees what it has got. */
static inline void taker_expect(struct taker *t, const unsigned char *data) {
    int64_t start = t->spec.start, end = t->spec.end ? t->spec.end : t->size;
    assert_int_equal(taker_wait(t), 0);
    assert_int_equal(t->pos, end);
    assert_memory_equal(t->got + start, data + start, (size_t)(end - start));
    free(t->got);
}

static inline unsigned char *random_data(int64_t size, struct digest *d) {
    unsigned char *data = calloc(1, (size_t)size + 1);
    uint64_t x = 88172645463325252ULL + (uint64_t)size;
    for (int64_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (unsigned char)x;
    }
    digest_of(d, DIGEST_SHA256, data, (size_t)size);
    return data;
}

/* Sets the world to a blob of random bytes and its only source, of whose size the catalogue knows nothing. world_end
 * frees the result. */
static inline unsigned char *one_source(struct script *s, const char *name, int64_t size, struct digest *d) {
    unsigned char *data = random_data(size, d);
    script_init(s, name, data, size);
    world = (typeof(world)){.sources = {s}, .n_sources = 1, .advise_size = -1};
    return data;
}

static inline void world_end(unsigned char *data) {
    world_stop();
    world_clean();
    free(data);
}

static inline void wait_until_held(const struct digest *d) {
    struct blob_info info;
    while (!store_lookup(world.store, d, &info))
        sched_yield();
}

/* From now on the store takes nothing in, until world_open_pool. */
static struct {
    atomic_bool shut;
    struct work blocks[WORLD_POOL];
} world_pool;

static inline void world_wait_in_pool(struct work *work) {
    (void)work;
    while (atomic_load(&world_pool.shut))
        usleep(200);
}

static inline void world_shut_pool(void) {
    atomic_store(&world_pool.shut, true);
    for (size_t i = 0; i < WORLD_POOL; i++) {
        world_pool.blocks[i] = (struct work){.fn = world_wait_in_pool};
        workpool_submit(world.pool, &world_pool.blocks[i]);
    }
}

static inline void world_open_pool(void) {
    atomic_store(&world_pool.shut, false);
}

/* No fill runs. The store has a blob a moment before its fill hears of it. */
static inline void wait_until_over(void) {
    struct fill_stats stats;
    do {
        sched_yield();
        fill_engine_stats(world.engine, &stats);
    } while (stats.running > 0);
}

/* What it has got of a blob by an earlier life, which is over. */
static inline void leave_part(const unsigned char *data, int64_t size, const struct digest *d) {
    struct part *p;
    int64_t have;
    struct error err = {0};
    world_start(0);
    if (part_open(world.store, d, &p, &have, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(part_write(p, 0, data, (size_t)size), 0);
    part_close(p);
    world_stop();
}

/* Takes it all from s, which has the blob; how many bytes of s that took. */
static inline int64_t take_all(struct script *s, const struct digest *d) {
    struct taker t;
    world_start(0);
    taker_start(&t, 0, d, s->size, "a", 0, 0);
    taker_expect(&t, s->data);
    wait_until_held(d);
    struct fill_stats stats;
    fill_engine_stats(world.engine, &stats);
    assert_int_equal(stats.mismatches, 0);
    world_stop();
    return atomic_load(&s->sent);
}

#define PROVEN_MAX 16

/* The catalogue of the world knows the size, and proofs of all pieces but the last. Returns the proofs, so that a test can
 * make one of them wrong; they are valid until the next call. */
static inline uint8_t *world_prove(const unsigned char *data, int64_t size) {
    static uint8_t proofs[PROVEN_MAX * 32];
    struct hasher h;
    world.advise_size = size;
    world.proofs = proofs;
    world.n_proofs = (size_t)((size - 1) / PIECE_SIZE);
    assert_in_range(world.n_proofs, 1, PROVEN_MAX);
    hasher_init(&h, DIGEST_SHA256);
    for (size_t i = 0; i < world.n_proofs; i++) {
        uint8_t proof[PIECE_PROOF_MAX];
        hasher_update(&h, data + i * PIECE_SIZE, (size_t)PIECE_SIZE);
        hasher_proof(&h, proof);
        memcpy(proofs + 32 * i, proof, 32);
    }
    return proofs;
}

#endif
