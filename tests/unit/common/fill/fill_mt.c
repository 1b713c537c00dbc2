/* Fills driven by scripted sources over a real store, with readers on several loops. */
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

#define MB ((int64_t)1024 * 1024)
#define CHUNK ((int64_t)128 * 1024)
#define SERVING 3

/* --- a source that does as it is told --- */

struct script {
    struct source source; /* first */
    const unsigned char *data;
    int64_t size;
    int64_t wrong_at;     /* this byte is flipped, once; -1 */
    int64_t cut_at;       /* the first fetch ends here with ERR_UPSTREAM; -1 */
    _Atomic int64_t gate; /* nothing beyond this offset is sent until it is raised */
    int refuse;           /* enum err: every fetch ends with it */
    bool hide_size;
    int64_t part; /* bytes handed over at a time; 0: all there is */
    bool at_once; /* the whole body and its end come in one turn of the loop, which takes as long as hashing it does */
    atomic_int starts, heads;
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
    int number;
};

static struct loop *fetch_loop;

static void script_free(struct script_fetch *f) {
    timer_fini(&f->timer);
    free(f);
}

static void script_end(struct script_fetch *f, int code) {
    struct fetch_end e;
    fetch_end_set(&e, code, "%s: scripted", f->s->source.name);
    f->ev->done(&f->fetch, &e, f->arg);
    script_free(f);
}

static bool script_call(struct script_fetch *f, const unsigned char *data, size_t len) {
    f->in_callback = true;
    if (data) {
        size_t part = f->s->part ? (size_t)f->s->part : len;
        for (size_t at = 0; at < len && !f->cancelled; at += part)
            f->ev->data(&f->fetch, data + at, len - at < part ? len - at : part, f->arg);
        if (!f->cancelled && f->ev->lull) f->ev->lull(&f->fetch, f->arg);
    } else {
        struct fetch_head h = {.total = f->s->hide_size ? -1 : f->s->size, .origin = f->s->source.name};
        snprintf(h.media_type, sizeof(h.media_type), "application/vnd.oci.image.manifest.v1+json");
        f->ev->head(&f->fetch, &h, f->arg);
    }
    f->in_callback = false;
    if (!f->cancelled) return true;
    script_free(f);
    return false;
}

static void script_step(void *arg) {
    struct script_fetch *f = arg;
    struct script *s = f->s;
    if (s->refuse) {
        script_end(f, s->refuse);
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
    int64_t n = f->end - f->at < CHUNK ? f->end - f->at : CHUNK, gate = atomic_load(&s->gate);
    if (s->cut_at >= 0 && f->number == 1 && f->at + n > s->cut_at) n = s->cut_at - f->at;
    if (f->at + n > gate) n = gate - f->at;
    if (n > 0 && !f->paused) {
        unsigned char chunk[CHUNK];
        memcpy(chunk, s->data + f->at, (size_t)n);
        if (s->wrong_at >= f->at && s->wrong_at < f->at + n) {
            chunk[s->wrong_at - f->at] ^= 1;
            s->wrong_at = -1;
        }
        f->at += n;
        atomic_fetch_add(&s->sent, n);
        if (!script_call(f, chunk, (size_t)n)) return;
    }
    timer_set(&f->timer, n > 0 ? 0 : 1);
}

static struct fetch *script_start(struct source *source, const struct fetch_request *rq, const struct fetch_events *ev,
                                  void *arg) {
    struct script *s = (struct script *)(void *)source;
    struct script_fetch *f = calloc(1, sizeof(*f));
    if (!f) abort();
    *f = (struct script_fetch){
        .fetch = {.source = source}, .s = s, .ev = ev, .arg = arg, .at = rq->offset, .end = s->size};
    f->is_head = rq->kind == FETCH_BLOB_HEAD || rq->kind == FETCH_MANIFEST_HEAD;
    if (rq->length > 0) f->end = rq->offset + rq->length;
    if (f->is_head)
        atomic_fetch_add(&s->heads, 1);
    else
        f->number = atomic_fetch_add(&s->starts, 1) + 1;
    atomic_store(&s->last_offset, rq->offset);
    timer_init(&f->timer, fetch_loop, script_step, f);
    timer_set(&f->timer, 0);
    return &f->fetch;
}

static void script_cancel(struct fetch *fetch) {
    struct script_fetch *f = (struct script_fetch *)(void *)fetch;
    if (f->in_callback)
        f->cancelled = true;
    else
        script_free(f);
}

static void script_pause(struct fetch *fetch) {
    ((struct script_fetch *)(void *)fetch)->paused = true;
}

static void script_resume(struct fetch *fetch) {
    ((struct script_fetch *)(void *)fetch)->paused = false;
}

static const struct source_ops script_ops = {script_start, script_cancel, script_pause, script_resume};

static void script_init(struct script *s, const char *name, const unsigned char *data, int64_t size) {
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
    sem_t stopped;
} world;

static unsigned world_sources(const struct fill_spec *spec, struct source *out[FILL_SOURCES_MAX], void *arg) {
    (void)arg;
    for (size_t i = 0; i < world.n_by_digest; i++) {
        if (digest_eq(&world.digests[i], &spec->digest)) out[0] = &world.by_digest[i].source;
    }
    for (unsigned i = 0; i < world.n_sources && !world.by_digest; i++)
        out[i] = &world.sources[i]->source;
    return world.n_sources;
}

static unsigned world_scopes(const struct fill_spec *spec, uint32_t out[4], void *arg) {
    (void)arg;
    char repo[REPO_STR_MAX];
    return store_scope(world.store, repo_name_str(&spec->repo, repo), &out[0]) == 0 ? 1 : 0;
}

static void world_ask(struct fill *f, const struct fill_spec *spec, void *arg) {
    (void)spec;
    (void)arg;
    struct fill_advice advice = {world.advise_size, world.claimed, world.proofs, world.n_proofs};
    fill_advise(f, &advice);
}

static void world_start(int64_t limit) {
    struct error err = {0};
    if (!world.dir[0]) {
        snprintf(world.dir, sizeof(world.dir), "/tmp/entrepot-fill-XXXXXX");
        assert_non_null(mkdtemp(world.dir));
    }
    world.pool = workpool_new("pool", 2);
    struct store_config sc = {.dir = world.dir, .limit = limit, .pool = world.pool};
    if (store_open(&world.store, &sc, &err) != 0) fail_msg("%s", err.msg);
    fetch_loop = loop_new("fetch");
    for (int i = 0; i < SERVING; i++)
        world.serving[i] = loop_new("serving");
    struct fill_engine_config ec = {.loops = &fetch_loop,
                                    .n_loops = 1,
                                    .store = world.store,
                                    .pool = world.pool,
                                    .sources = world_sources,
                                    .scopes = world_scopes,
                                    .ask_catalogue = world_ask};
    world.engine = fill_engine_new(&ec);
    loop_start(fetch_loop);
    for (int i = 0; i < SERVING; i++)
        loop_start(world.serving[i]);
}

static void on_stopped(void *arg) {
    (void)arg;
    sem_post(&world.stopped);
}

static void world_stop(void) {
    sem_init(&world.stopped, 0, 0);
    fill_engine_stop(world.engine, on_stopped, NULL);
    sem_wait(&world.stopped);
    for (int i = 0; i < SERVING; i++) {
        loop_stop(world.serving[i]);
        loop_join(world.serving[i]);
    }
    loop_stop(fetch_loop);
    loop_join(fetch_loop);
    /* What they still have for each other, before any of them goes. */
    for (bool more = true; more;) {
        more = loop_run_pending(fetch_loop);
        for (int i = 0; i < SERVING; i++)
            more = loop_run_pending(world.serving[i]) || more;
    }
    loop_free(fetch_loop);
    for (int i = 0; i < SERVING; i++)
        loop_free(world.serving[i]);
    fill_engine_free(world.engine);
    store_close(world.store);
    workpool_free(world.pool);
    world.store = NULL;
}

static void world_clean(void) {
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf %s", world.dir);
    if (system(cmd) != 0) fail_msg("cannot remove %s", world.dir);
    memset(&world, 0, sizeof(world));
    world.advise_size = -1;
}

/* --- a reader that takes everything --- */

struct taker {
    struct fill_spec spec;
    struct loop *loop;
    struct fill_reader *r;
    int64_t pos, stop_at, max_seen; /* stop_at: leaves there; 0: at the end */
    unsigned char *got;
    bool done;
    int code;
    sem_t over;
};

static void taker_leave(struct taker *t, int code) {
    t->done = true;
    t->code = code;
    fill_detach(t->r);
    sem_post(&t->over);
}

static void taker_event(struct fill_reader *r, void *arg) {
    struct taker *t = arg;
    if (t->done) return;
    t->r = r;
    if (fill_reader_state(r) == FILL_FAILED) {
        taker_leave(t, fill_reader_error(r)->code);
        return;
    }
    int64_t size = fill_reader_size(r), end = t->spec.end > 0 ? t->spec.end : size;
    for (;;) {
        int64_t n = fill_reader_visible(r, t->pos);
        if (n <= 0) break;
        if (t->pos + n > end && end >= 0) n = end - t->pos;
        if (n <= 0) break;
        struct open_file *f = fill_reader_file(r, t->pos, &n);
        if (pread(open_file_fd(f), t->got + t->pos, (size_t)n, t->pos) != n) abort();
        open_file_unref(f);
        t->pos += n;
        fill_reader_consumed(r, t->pos);
    }
    if (t->pos > t->max_seen) t->max_seen = t->pos;
    if ((t->stop_at && t->pos >= t->stop_at) ||
        (end >= 0 && t->pos == end && (t->spec.end || fill_reader_state(r) == FILL_PROVED)))
        taker_leave(t, 0);
}

static void taker_begin(void *arg) {
    struct taker *t = arg;
    t->r = fill_attach(world.engine, &t->spec, taker_event, t);
}

static void taker_init(struct taker *t, int loop, const struct digest *d, int64_t size, const char *repo, int64_t start,
                       int64_t end) {
    memset(t, 0, sizeof(*t));
    t->spec = (struct fill_spec){.digest = *d, .start = start, .end = end};
    snprintf(t->spec.repo.upstream, sizeof(t->spec.repo.upstream), "up");
    snprintf(t->spec.repo.path, sizeof(t->spec.repo.path), "%s", repo);
    t->pos = start;
    t->got = calloc(1, (size_t)size + 1);
    sem_init(&t->over, 0, 0);
    t->loop = world.serving[loop % SERVING];
}

static void taker_go(struct taker *t) {
    loop_call(t->loop, taker_begin, t);
}

static void taker_start(struct taker *t, int loop, const struct digest *d, int64_t size, const char *repo,
                        int64_t start, int64_t end) {
    taker_init(t, loop, d, size, repo, start, end);
    taker_go(t);
}

static int taker_wait(struct taker *t) {
    sem_wait(&t->over);
    return t->code;
}

static unsigned char *random_data(int64_t size, struct digest *d) {
    unsigned char *data = malloc((size_t)size + 1);
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

static void wait_until_held(const struct digest *d) {
    struct blob_info info;
    while (!store_lookup(world.store, d, &info))
        sched_yield();
}

/* --- the tests --- */

static void fill_fetches_once_however_many_ask(void **state) {
    (void)state;
    const int64_t size = 9 * MB + 1;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "one", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(0);
    static struct taker takers[50];
    for (int i = 0; i < 50; i++)
        taker_start(&takers[i], i, &d, size, "a", 0, 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(taker_wait(&takers[i]), 0);
        assert_memory_equal(takers[i].got, data, (size_t)size);
        free(takers[i].got);
    }
    assert_int_equal(atomic_load(&s.starts), 1);
    wait_until_held(&d);
    world_stop();
    world_clean();
    free(data);
}

static void fill_withholds_last_piece_until_digest_matches(void **state) {
    (void)state;
    const int64_t size = 9 * MB, where[] = {0, 5 * MB, 9 * MB - 1};
    for (size_t i = 0; i < ARRAY_LEN(where); i++) {
        struct digest d;
        unsigned char *data = random_data(size, &d), *wrong = malloc((size_t)size);
        memcpy(wrong, data, (size_t)size);
        wrong[where[i]] ^= 0x40;
        struct script s;
        script_init(&s, "liar", wrong, size);
        world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, size, "a", 0, 0);
        assert_int_equal(taker_wait(&t), ERR_MISMATCH);
        assert_true(t.max_seen <= 8 * MB);
        free(t.got);
        world_stop();
        world_clean();
        free(data);
        free(wrong);
    }
}

static void fill_takes_blobs_of_all_sizes_side_by_side_in_odd_parts(void **state) {
    (void)state;
    static const int64_t sizes[] = {1,      10007,      32 * 1024,  256 * 1024, 256 * 1024 + 1, MB,
                                    4 * MB, 4 * MB + 1, 8 * MB - 1, 8 * MB,     9 * MB + 12345, 13 * MB};
    static struct script s[ARRAY_LEN(sizes)];
    struct digest d[ARRAY_LEN(sizes)];
    static struct taker takers[ARRAY_LEN(sizes)];
    unsigned char *data[ARRAY_LEN(sizes)];
    world = (typeof(world)){
        .by_digest = s, .digests = d, .n_by_digest = ARRAY_LEN(sizes), .n_sources = 1, .advise_size = -1};
    world_start(0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        data[i] = random_data(sizes[i], &d[i]);
        script_init(&s[i], "odd", data[i], sizes[i]);
        s[i].part = 10007;
        taker_init(&takers[i], (int)i, &d[i], sizes[i], "a", 0, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        taker_go(&takers[i]);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(taker_wait(&takers[i]), 0);
        assert_memory_equal(takers[i].got, data[i], (size_t)sizes[i]);
        wait_until_held(&takers[i].spec.digest);
        free(takers[i].got);
    }
    world_stop();
    world_clean();
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        free(data[i]);
}

/* The hasher has got to the end before the loop hears of it. */
static void fill_is_over_when_its_hash_is_back(void **state) {
    (void)state;
    static const int64_t sizes[] = {MB + 1, 3 * MB, 4 * MB, 9 * MB + 1, 16 * MB};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct digest d;
        unsigned char *data = random_data(sizes[i], &d);
        struct script s;
        script_init(&s, "one", data, sizes[i]);
        s.at_once = true;
        s.part = 10007;
        world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, sizes[i], "a", 0, 0);
        assert_int_equal(taker_wait(&t), 0);
        assert_memory_equal(t.got, data, (size_t)sizes[i]);
        assert_int_equal(atomic_load(&s.starts), 1);
        wait_until_held(&d);
        free(t.got);
        world_stop();
        world_clean();
        free(data);
    }
}

static void fill_shows_the_first_bytes_before_more_come(void **state) {
    (void)state;
    const int64_t size = 9 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "slow", data, size);
    atomic_store(&s.gate, 100);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(0);
    struct taker t;
    taker_init(&t, 0, &d, size, "a", 0, 0);
    t.stop_at = 100;
    taker_go(&t);
    assert_int_equal(taker_wait(&t), 0);
    assert_int_equal(t.pos, 100);
    assert_memory_equal(t.got, data, 100);
    free(t.got);
    world_stop();
    world_clean();
    free(data);
}

/* Wherever the hasher is when it is stopped, what is in the file is good to go on from. */
static void fill_may_be_stopped_while_it_is_hashed(void **state) {
    (void)state;
    const int64_t size = 24 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "one", data, size);
    s.part = 16384;
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    for (int64_t at = MB; at < size; at += 5 * MB) {
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, size, "a", 0, 0);
        while (atomic_load(&s.sent) < at)
            sched_yield();
        world_stop();
        int code = taker_wait(&t);
        assert_true(code == ERR_CANCELLED || code == 0);
        free(t.got);
    }
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&t), 0);
    assert_memory_equal(t.got, data, (size_t)size);
    free(t.got);
    assert_int_equal(atomic_load(&s.sent), size);
    world_stop();
    world_clean();
    free(data);
}

static void fill_keeps_what_a_cut_source_sent_and_goes_on_from_there(void **state) {
    (void)state;
    const int64_t size = 6 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "cut", data, size);
    s.cut_at = 3 * MB;
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&t), 0);
    assert_memory_equal(t.got, data, (size_t)size);
    free(t.got);
    assert_int_equal(atomic_load(&s.last_offset), 3 * MB);
    assert_int_equal(atomic_load(&s.sent), size);
    world_stop();
    world_clean();
    free(data);
}

static void fill_continues_its_part_file_after_a_restart(void **state) {
    (void)state;
    const int64_t size = 11 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "slow", data, size);
    atomic_store(&s.gate, 7 * MB);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    while (atomic_load(&s.sent) < 7 * MB)
        sched_yield();
    world_stop();
    assert_int_equal(taker_wait(&t), ERR_CANCELLED);
    free(t.got);
    atomic_store(&s.gate, INT64_MAX);
    world_start(0);
    taker_start(&t, 0, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&t), 0);
    assert_memory_equal(t.got, data, (size_t)size);
    free(t.got);
    assert_int_equal(atomic_load(&s.last_offset), 7 * MB);
    assert_int_equal(atomic_load(&s.sent), size);
    world_stop();
    world_clean();
    free(data);
}

/* What it has got of a blob by an earlier life, which is over. */
static void leave_part(const unsigned char *data, int64_t size, const struct digest *d) {
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
static int64_t take_all(struct script *s, const struct digest *d) {
    struct taker t;
    world_start(0);
    taker_start(&t, 0, d, s->size, "a", 0, 0);
    assert_int_equal(taker_wait(&t), 0);
    assert_memory_equal(t.got, s->data, (size_t)s->size);
    wait_until_held(d);
    struct fill_stats stats;
    fill_engine_stats(world.engine, &stats);
    assert_int_equal(stats.mismatches, 0);
    free(t.got);
    world_stop();
    return atomic_load(&s->sent);
}

static void prove_pieces(const unsigned char *data, int n, uint8_t *proofs) {
    struct hasher h;
    hasher_init(&h, DIGEST_SHA256);
    for (int i = 0; i < n; i++) {
        hasher_update(&h, data + i * PIECE_SIZE, (size_t)PIECE_SIZE);
        uint8_t proof[PIECE_PROOF_MAX];
        hasher_proof(&h, proof);
        memcpy(proofs + 32 * i, proof, 32);
    }
}

/* A part file that has rotted is nobody's lie: with one source that may lie but once, the pull succeeds. */
static void fill_takes_back_what_has_rotted_of_its_part_file_and_blames_nobody(void **state) {
    (void)state;
    static const struct {
        int64_t have, wrong_at, kept;
    } cases[] = {{11 * MB, 0, 0}, {11 * MB, 5 * MB, 4 * MB}, {30 * MB, 27 * MB, 24 * MB}, {30 * MB, -1, 30 * MB}};
    const int64_t size = 34 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    uint8_t proofs[8 * 32];
    prove_pieces(data, 8, proofs);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        script_init(&s, "one", data, size);
        world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = size, .proofs = proofs, .n_proofs = 8};
        if (cases[i].wrong_at >= 0) data[cases[i].wrong_at] ^= 1;
        leave_part(data, cases[i].have, &d);
        if (cases[i].wrong_at >= 0) data[cases[i].wrong_at] ^= 1;
        assert_int_equal(take_all(&s, &d), size - cases[i].kept);
        world_clean();
    }
    free(data);
}

static void fill_forgets_a_part_file_that_is_longer_than_the_blob(void **state) {
    (void)state;
    const int64_t size = 5 * MB;
    struct digest d, other;
    unsigned char *data = random_data(size, &d), *longer = random_data(size + 1, &other);
    struct script s;
    script_init(&s, "one", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = size};
    leave_part(longer, size + 1, &d);
    assert_int_equal(take_all(&s, &d), size);
    world_clean();
    free(data);
    free(longer);
}

/* Anyone can write a manifest: what it says of a size is a hint, whatever the source says of it itself. */
static void fill_takes_a_claimed_size_for_no_more_than_a_claim(void **state) {
    (void)state;
    static const struct {
        int64_t size, claim;
        bool hide;
    } cases[] = {
        {5 * MB, 1, false},      {5 * MB, 0, false},     {5 * MB, 9 * MB, false}, {5 * MB, INT64_C(1) << 53, false},
        {5 * MB, 1, true},       {5 * MB, 4 * MB, true}, {5 * MB, 9 * MB, true},  {10007, 11, false},
        {10007, 5 * MB, true},   {10007, 10006, true},   {0, 12, false},          {12, 0, true},
        {5 * MB, 5 * MB, false}, {5 * MB, 5 * MB, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct digest d;
        unsigned char *data = random_data(cases[i].size, &d);
        struct script s;
        script_init(&s, "one", data, cases[i].size);
        s.hide_size = cases[i].hide;
        world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = cases[i].claim, .claimed = true};
        assert_int_equal(take_all(&s, &d), cases[i].size);
        world_clean();
        free(data);
    }
}

/* A part file as long as the claim is neither the whole nor wrong. */
static void fill_goes_on_from_a_part_file_of_the_claimed_size(void **state) {
    (void)state;
    const int64_t size = 9 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "one", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = 4 * MB, .claimed = true};
    leave_part(data, 4 * MB, &d);
    assert_int_equal(take_all(&s, &d), 5 * MB);
    world_clean();
    free(data);
}

static void fill_takes_back_only_the_piece_the_catalogue_disproves(void **state) {
    (void)state;
    const int64_t size = 14 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    uint8_t proofs[3 * 32];
    prove_pieces(data, 3, proofs);
    struct script liar, honest;
    script_init(&liar, "liar", data, size);
    liar.wrong_at = 5 * MB;
    script_init(&honest, "honest", data, size);
    world = (typeof(world)){
        .sources = {&liar, &honest}, .n_sources = 2, .advise_size = size, .proofs = proofs, .n_proofs = 3};
    world_start(0);
    struct taker early, ranged;
    /* This one waits beyond the wrong piece: it has been given nothing that is taken back. */
    taker_start(&ranged, 1, &d, size, "a", 9 * MB, 10 * MB);
    assert_int_equal(taker_wait(&ranged), 0);
    assert_memory_equal(ranged.got + 9 * MB, data + 9 * MB, (size_t)MB);
    free(ranged.got);
    assert_int_equal(atomic_load(&honest.last_offset), 4 * MB);
    taker_start(&early, 0, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&early), 0);
    assert_memory_equal(early.got, data, (size_t)size);
    free(early.got);
    world_stop();
    world_clean();
    free(data);
}

static void fill_goes_on_when_one_reader_leaves(void **state) {
    (void)state;
    const int64_t size = 20 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "one", data, size);
    atomic_store(&s.gate, 2 * MB);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(0);
    struct taker quits, stays;
    taker_init(&quits, 0, &d, size, "a", 0, 0);
    quits.stop_at = 1 * MB;
    taker_go(&quits);
    taker_start(&stays, 1, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&quits), 0);
    atomic_store(&s.gate, INT64_MAX);
    assert_int_equal(taker_wait(&stays), 0);
    assert_memory_equal(stays.got, data, (size_t)size);
    assert_int_equal(atomic_load(&s.starts), 1);
    free(quits.got);
    free(stays.got);
    world_stop();
    world_clean();
    free(data);
}

static void fill_passes_through_what_the_store_has_no_room_for(void **state) {
    (void)state;
    const int64_t size = 100 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "big", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(8 * MB);
    struct taker a, b;
    taker_start(&a, 0, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&a), 0);
    assert_memory_equal(a.got, data, (size_t)size);
    free(a.got);
    taker_start(&b, 1, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&b), 0);
    assert_memory_equal(b.got, data, (size_t)size);
    free(b.got);
    struct fill_stats stats;
    fill_engine_stats(world.engine, &stats);
    assert_int_equal(stats.passed_through, 2);
    struct blob_info info;
    assert_false(store_lookup(world.store, &d, &info));
    world_stop();
    world_clean();
    free(data);
}

static void fill_fetches_a_far_range_aside(void **state) {
    (void)state;
    const int64_t size = 40 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "slow", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(0);
    atomic_store(&s.gate, 1 * MB);
    struct taker front, far;
    taker_start(&front, 0, &d, size, "a", 0, 0);
    while (atomic_load(&s.sent) < 1 * MB)
        sched_yield();
    /* The main fetch stands at 1 MiB and shall not get to 30 by itself: only a ranged one can start there. */
    taker_start(&far, 1, &d, size, "a", 30 * MB, 30 * MB + 1000);
    while (atomic_load(&s.last_offset) != 28 * MB)
        sched_yield();
    atomic_store(&s.gate, INT64_MAX);
    assert_int_equal(taker_wait(&far), 0);
    assert_memory_equal(far.got + 30 * MB, data + 30 * MB, 1000);
    assert_int_equal(taker_wait(&front), 0);
    assert_memory_equal(front.got, data, (size_t)size);
    free(front.got);
    free(far.got);
    world_stop();
    world_clean();
    free(data);
}

static void fill_fails_with_no_when_every_source_says_no(void **state) {
    (void)state;
    struct digest d;
    unsigned char *data = random_data(10, &d);
    struct script a, b;
    script_init(&a, "a", data, 10);
    script_init(&b, "b", data, 10);
    a.refuse = ERR_NOT_FOUND;
    b.refuse = ERR_NOT_FOUND;
    world = (typeof(world)){.sources = {&a, &b}, .n_sources = 2, .advise_size = -1};
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, 10, "a", 0, 0);
    assert_int_equal(taker_wait(&t), ERR_NOT_FOUND);
    free(t.got);
    b.refuse = ERR_UNREACHABLE;
    taker_start(&t, 0, &d, 10, "a", 0, 0);
    assert_int_equal(taker_wait(&t), ERR_UNREACHABLE);
    free(t.got);
    world_stop();
    world_clean();
    free(data);
}

static void fill_asks_whether_another_repository_may_have_it(void **state) {
    (void)state;
    const int64_t size = 1 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script s;
    script_init(&s, "one", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&t), 0);
    free(t.got);
    wait_until_held(&d);
    taker_start(&t, 0, &d, size, "b", 0, 0);
    assert_int_equal(taker_wait(&t), 0);
    assert_memory_equal(t.got, data, (size_t)size);
    free(t.got);
    assert_int_equal(atomic_load(&s.starts), 1);
    assert_int_equal(atomic_load(&s.heads), 1);
    s.refuse = ERR_NOT_FOUND;
    taker_start(&t, 0, &d, size, "c", 0, 0);
    assert_int_equal(taker_wait(&t), ERR_NOT_FOUND);
    free(t.got);
    world_stop();
    world_clean();
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fill_fetches_once_however_many_ask),
        cmocka_unit_test(fill_withholds_last_piece_until_digest_matches),
        cmocka_unit_test(fill_takes_blobs_of_all_sizes_side_by_side_in_odd_parts),
        cmocka_unit_test(fill_is_over_when_its_hash_is_back),
        cmocka_unit_test(fill_shows_the_first_bytes_before_more_come),
        cmocka_unit_test(fill_may_be_stopped_while_it_is_hashed),
        cmocka_unit_test(fill_keeps_what_a_cut_source_sent_and_goes_on_from_there),
        cmocka_unit_test(fill_continues_its_part_file_after_a_restart),
        cmocka_unit_test(fill_takes_back_what_has_rotted_of_its_part_file_and_blames_nobody),
        cmocka_unit_test(fill_forgets_a_part_file_that_is_longer_than_the_blob),
        cmocka_unit_test(fill_takes_a_claimed_size_for_no_more_than_a_claim),
        cmocka_unit_test(fill_goes_on_from_a_part_file_of_the_claimed_size),
        cmocka_unit_test(fill_takes_back_only_the_piece_the_catalogue_disproves),
        cmocka_unit_test(fill_goes_on_when_one_reader_leaves),
        cmocka_unit_test(fill_passes_through_what_the_store_has_no_room_for),
        cmocka_unit_test(fill_fetches_a_far_range_aside),
        cmocka_unit_test(fill_fails_with_no_when_every_source_says_no),
        cmocka_unit_test(fill_asks_whether_another_repository_may_have_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
