/* Keeps the store within its limit: evicts in a thread of its own before a fill has to wait for space, and if that is
 * too late a little on the fill's thread. room.c says how much is too much. Thread: the evictor and, for store_prune,
 * one of its own, both at a low priority; space_reserve and quick evictions on fetch loops. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/core/clock.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/core/thread.h"
#include "common/store/store_private.h"

#define STATVFS_EVERY MiB  /* bytes written between two calls of statvfs */
#define BATCH_VICTIMS 1024 /* evictions between two flushes of the writer, so that queued commits wait little */
#define REST_VICTIMS 16
#define REST_MAX_US 20000
#define QUICK_VICTIMS 8
#define QUICK_VETOES 32
#define ROOM_ROUNDS 4 /* of QUICK_VICTIMS: the index may have grown by much more than the fill */
#define FAILURES_MAX 8
#define OLD_PART_S (24 * 3600)
#define IDLE_PARTS_SHARE 10 /* one tenth: unfinished downloads that nobody continues may take no more */
#define SPARED_MANIFESTS_SHARE \
    10              /* the same for manifests that stay because a child does: many may name a common one */
#define PERIOD_S 30 /* how often uses are written, the index synced, unused scopes dropped */
#define AGAIN_S 1
#define AWAIT_MS 30000        /* the evictor runs at a low priority */
#define FILLED_MS 250         /* a fill waits so long, right after a start, until it is known what may go */
#define ROOM_FILES 2          /* made room for at a fill's own hand: its file, and a folder to move it to */
#define CLEAR_BYTES (8 * MiB) /* removed at start on a full disk, to make space for the index */
#define CLEAR_MIN MiB         /* only if there is at least this much to remove */

/* --- who goes --- */

static int64_t size_of(uint32_t id, void *arg) {
    const struct store *s = arg;
    return room_on_disk(s, table_size(s->table, id));
}

static unsigned freq_of(uint32_t id, void *arg) {
    return table_freq(((struct store *)arg)->table, id);
}

static void set_freq(uint32_t id, unsigned freq, void *arg) {
    table_set_freq(((struct store *)arg)->table, id, freq);
}

/* True if manifests take so much space that unused ones are evicted like other blobs. */
static bool manifests_crowd(const struct store *s) {
    return s->manifests_on_disk > room_capacity(s) / SPARED_MANIFESTS_SHARE;
}

/* A manifest is kept while any of its children is held. */
static bool child_held(struct store *s, const struct digest *manifest) {
    bool held = false;
    pthread_mutex_lock(&s->children_lock);
    if (!s->children_of)
        sqlite3_prepare_v2(s->children_db, "SELECT child FROM children WHERE parent=?1", -1, &s->children_of, NULL);
    if (s->children_of) {
        db_bind_digest(s->children_of, 1, manifest);
        struct digest child;
        while (!held && sqlite3_step(s->children_of) == SQLITE_ROW)
            held = db_column_digest(s->children_of, 0, &child) && table_find(s->table, &child, NULL);
        sqlite3_reset(s->children_of);
    }
    pthread_mutex_unlock(&s->children_lock);
    return held;
}

/* Bytes freed on the disk; 0: it stays; -errno: its file could not be removed, so it stays. */
static int64_t try_victim(struct store *s, uint32_t id, const struct digest *d, unsigned flags) {
    struct table_value v;
    if (table_find(s->table, d, &v) != id) return 0;
    bool manifest = v.flags & BLOB_MANIFEST;
    bool veto = manifest && ((flags & SPACE_QUICK) || (!manifests_crowd(s) && child_held(s, d)));
    int64_t freed = 0;
    pthread_mutex_t *stripe = folder_stripe(s, d);
    pthread_mutex_lock(stripe);
    /* Blobs that must stay leave the queues; otherwise they would be candidates again and again. */
    if (table_find(s->table, d, &v) == id && !guard_keeps(s, d, v.flags)) {
        if (!veto && !files_in_use(s->files, d)) freed = held_evict(s, d);
        pthread_mutex_lock(&s->evict_lock);
        if (freed > 0)
            evict_gone(s->evict, table_hash(s->table, d));
        else if (table_find(s->table, d, NULL) == id)
            evict_keep(s->evict, id);
        pthread_mutex_unlock(&s->evict_lock);
    }
    pthread_mutex_unlock(stripe);
    return freed;
}

/* Takes the next candidate out of the queues. Returns as evict_next. */
static int next_victim(struct store *s, uint32_t *id, struct digest *d) {
    pthread_mutex_lock(&s->evict_lock);
    int r = evict_next(s->evict, id);
    if (r == 1 && !table_get(s->table, *id, d, NULL)) r = -1;
    pthread_mutex_unlock(&s->evict_lock);
    return r;
}

/* After so many refused candidates in a row nothing may be evicted. */
static size_t vetoes_max(struct store *s, unsigned flags) {
    if (flags & SPACE_QUICK) return QUICK_VETOES;
    pthread_mutex_lock(&s->evict_lock);
    size_t n = evict_len(s->evict);
    pthread_mutex_unlock(&s->evict_lock);
    return 2 * n; /* a manifest once in its turn, and once more until what all of them wait for is looked at, unused
                     scopes dropped */
}

/* After bulk work, rests as long as it took: unlinking a hundred thousand files keeps a processor and the file system's
 * journal busy. If space is needed sooner, the writer makes it (SPACE_QUICK). */
static void rest(int64_t *since_us) {
    int64_t took = clock_mono_us() - *since_us;
    struct timespec pause = {.tv_nsec = (took < REST_MAX_US ? took : REST_MAX_US) * 1000};
    nanosleep(&pause, NULL);
    *since_us = clock_mono_us();
}

static bool is_enough(const struct room *freed, const struct room *want) {
    return freed->bytes >= want->bytes && freed->files >= want->files;
}

static bool may_go_on(const struct store *s, unsigned flags) {
    return !s->closing && ((flags & SPACE_QUICK) || !s->stopping);
}

/* Stops when FAILURES_MAX files in a row could not be removed, because the disk then refuses all changes. */
static void evict_blobs(struct store *s, const struct room *want, unsigned flags, struct prune_report *report,
                        struct room *freed) {
    size_t failures = 0, vetoes = 0, max = vetoes_max(s, flags), victims = 0;
    int64_t since_us = clock_mono_us();
    while (!is_enough(freed, want) && vetoes <= max && may_go_on(s, flags)) {
        uint32_t id;
        struct digest d;
        int r = next_victim(s, &id, &d);
        if (r == 0) break;
        if (r < 0) continue;
        int64_t n = try_victim(s, id, &d, flags);
        if (n < 0) {
            report->not_removed++;
            snprintf(report->why, sizeof(report->why), "%s", error_name((int)n));
            if (++failures == FAILURES_MAX) break;
            n = 0;
        } else if (n > 0) {
            failures = 0;
        }
        freed->bytes += n;
        freed->files += n > 0;
        vetoes = n ? 0 : vetoes + 1;
        victims += n > 0;
        if ((flags & SPACE_QUICK) && victims == QUICK_VICTIMS) break;
        if (!(flags & SPACE_QUICK) && n && victims % BATCH_VICTIMS == 0) writer_flush(s->writer);
        if (!(flags & SPACE_QUICK) && n && victims % REST_VICTIMS == 0) rest(&since_us);
    }
}

static void evict_parts(struct store *s, const struct room *want, int64_t before, int64_t allowed, struct room *freed) {
    for (int64_t n; !is_enough(freed, want) && (n = parts_drop_oldest(s, before, allowed)) >= 0;) {
        freed->bytes += n;
        freed->files++;
    }
}

static struct room evict(struct store *s, const struct room *want, unsigned flags, struct prune_report *report) {
    struct room freed = {0};
    if (want->bytes <= 0 && want->files <= 0) return freed;
    evict_parts(s, want, clock_wall_s() - OLD_PART_S, room_capacity(s) / IDLE_PARTS_SHARE, &freed);
    if (!store_eviction_held(s)) evict_blobs(s, want, flags, report, &freed);
    evict_parts(s, want, INT64_MAX, 0, &freed);
    report->freed = freed.bytes;
    return freed;
}

/* --- a fill wants room --- */

static void wake_evictor(struct store *s) {
    struct evictor *e = &s->evictor;
    pthread_mutex_lock(&e->lock);
    if (!e->wanted) {
        e->wanted = true;
        pthread_cond_broadcast(&e->cond); /* others may wait, too: for queues or a round */
    }
    pthread_mutex_unlock(&e->lock);
}

/* At a fill's own hand. */
static int64_t evict_quickly(struct store *s, int64_t bytes) {
    struct prune_report report = {0};
    return evict(s, &(struct room){.bytes = bytes}, SPACE_QUICK, &report).bytes;
}

void space_count_file(struct store *s) {
    s->inodes_free--;
    if (room_inodes_short(s)) wake_evictor(s);
}

int space_reserve(struct store *s, int64_t from, int64_t to) {
    int64_t grow = room_on_disk(s, to) - room_on_disk(s, from);
    if (atomic_fetch_add(&s->since_statvfs, grow) + grow >= STATVFS_EVERY) room_ask_disk(s);
    int64_t over = room_excess(s, grow) > 0 ? room_beyond(s, grow) : 0;
    if (over > 0) {
        wake_evictor(s);
        for (int i = 0; over > 0 && i < ROOM_ROUNDS && evict_quickly(s, over) > 0; i++) {
            if (s->cfg.min_free > 0) room_ask_disk(s);
            over = room_beyond(s, grow);
        }
        if (over > 0) return ERR_NO_SPACE;
    }
    room_count_part(s, from, to);
    /* Wake the evictor only now: before, it would have found nothing to do and slept on. */
    if (room_excess(s, 0) > 0) wake_evictor(s);
    return 0;
}

static struct timespec in_ms(int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

/* Right after a start the queues are not complete yet. */
static void wait_filled(struct evictor *e, int64_t ms) {
    struct timespec until = in_ms(ms);
    pthread_mutex_lock(&e->lock);
    for (int r = 0; !e->filled && !e->stopping && r == 0;)
        r = pthread_cond_timedwait(&e->cond, &e->lock, &until);
    pthread_mutex_unlock(&e->lock);
}

/* Short of inodes, bytes would be no measure: one large blob has a single inode. */
bool space_make_room(struct store *s, int64_t want) {
    struct prune_report report = {0};
    wake_evictor(s);
    wait_filled(&s->evictor, FILLED_MS);
    room_ask_disk(s);
    struct room room = {.bytes = want};
    if (room_inodes_short(s)) room = (struct room){.files = ROOM_FILES};
    return evict(s, &room, SPACE_QUICK, &report).files > 0;
}

bool space_await_evictor(struct store *s) {
    struct evictor *e = &s->evictor;
    struct timespec until = in_ms(AWAIT_MS);
    wake_evictor(s);
    pthread_mutex_lock(&e->lock);
    uint64_t fruitful = e->fruitful, rounds = e->rounds;
    /* The round that runs now may have looked before there was too much. */
    for (int r = 0; e->fruitful == fruitful && e->rounds < rounds + 2 && !e->stopping && r == 0;) {
        e->wanted = true;
        pthread_cond_broadcast(&e->cond);
        r = pthread_cond_timedwait(&e->cond, &e->lock, &until);
    }
    bool removed = e->fruitful != fruitful;
    pthread_mutex_unlock(&e->lock);
    return removed;
}

/* --- a command wants room --- */

void store_stop_bulk(struct store *s) {
    s->stopping = true;
}

struct prune {
    struct store *store;
    int64_t target;
    struct prune_report *report;
};

static void *prune_main(void *arg) {
    struct prune *p = arg;
    pthread_setname_np(pthread_self(), "prune");
    thread_lower_priority();
    wait_filled(&p->store->evictor, INT32_MAX);
    pthread_mutex_lock(&p->store->bulk_lock);
    struct room want = {.bytes = p->store->blobs_on_disk + p->store->parts_on_disk - p->target};
    evict(p->store, &want, 0, p->report);
    pthread_mutex_unlock(&p->store->bulk_lock);
    writer_flush(p->store->writer);
    return NULL;
}

/* On a thread of its own: a priority that was given up does not come back. */
void store_prune(struct store *s, int64_t target, struct prune_report *out) {
    struct prune p = {.store = s, .target = target, .report = out};
    *out = (struct prune_report){0};
    pthread_t thread;
    int r = pthread_create(&thread, NULL, prune_main, &p);
    if (r == 0)
        pthread_join(thread, NULL);
    else
        log_error("prune_failed", KV_S("why", strerror(r)));
}

/* --- the evictor's thread --- */

struct loaded {
    uint32_t used_at, id;
};

static int by_use(const void *a, const void *b) {
    const struct loaded *x = a, *y = b;
    return x->used_at < y->used_at ? -1 : x->used_at > y->used_at;
}

/* All entries, those used longest ago first; the caller frees. */
static struct loaded *all_by_use(struct store *s, size_t *n) {
    uint32_t end = table_end(s->table);
    struct loaded *all = xcalloc(end + 1, sizeof(*all));
    *n = 0;
    for (uint32_t id = 1; id < end; id++) {
        struct digest d;
        if (table_get(s->table, id, &d, NULL)) all[(*n)++] = (struct loaded){table_used_at(s->table, id), id};
    }
    qsort(all, *n, sizeof(*all), by_use);
    return all;
}

/* Puts the loaded blobs into the queues in the order of their last use, those used more than once into the main queue.
 * The evictor does this so that a start need not wait for it. */
static void fill_queues(struct store *s) {
    size_t n;
    struct loaded *all = all_by_use(s, &n);
    for (size_t i = 0; i < n && !s->closing; i++) {
        struct digest d;
        struct table_value v;
        pthread_mutex_lock(&s->evict_lock);
        if (table_get(s->table, all[i].id, &d, &v) && !(v.flags & BLOB_HOSTED)) {
            if (table_freq(s->table, all[i].id))
                evict_keep(s->evict, all[i].id);
            else
                evict_add(s->evict, all[i].id, table_hash(s->table, &d));
        }
        pthread_mutex_unlock(&s->evict_lock);
    }
    free(all);
}

static void tell_filled(struct evictor *e) {
    pthread_mutex_lock(&e->lock);
    e->filled = true;
    pthread_cond_broadcast(&e->cond); /* prunes; the evictor itself, which else waits here, is not yet waiting */
    pthread_mutex_unlock(&e->lock);
}

/* Waits for work; false: stop. fruitless: there was nothing to evict, so requests are ignored for a moment. */
static bool wait_for_work(struct evictor *e, int64_t seconds, bool fruitless) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&e->lock);
    int r = 0;
    while (!e->stopping && (fruitless || !e->wanted) && r == 0)
        r = pthread_cond_timedwait(&e->cond, &e->lock, &until);
    e->wanted = false;
    bool go_on = !e->stopping;
    pthread_mutex_unlock(&e->lock);
    return go_on;
}

static void tell_round(struct evictor *e, bool fruitful) {
    pthread_mutex_lock(&e->lock);
    e->rounds++;
    e->fruitful += fruitful;
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->lock);
}

/* Until then blobs may come back into the scopes they had. */
static bool is_reconciled(struct store *s) {
    pthread_mutex_lock(&s->idle_lock);
    bool reconciled = s->reconciled;
    pthread_mutex_unlock(&s->idle_lock);
    return reconciled;
}

enum made { ENOUGH, SOME, NONE };

/* told: that there is too much and nothing may go has been logged. With bulk_lock. */
static enum made make_room(struct store *s, bool told) {
    struct prune_report report = {0};
    room_ask_disk(s);
    room_ask_index(s);
    struct room want = {0};
    if (!store_eviction_held(s)) want = room_wanted(s);
    if (want.bytes <= 0 && want.files <= 0) return ENOUGH;
    if (evict(s, &want, 0, &report).files > 0) return SOME;
    if (!told)
        log_warn("nothing_to_evict", KV_I("bytes_wanted", want.bytes), KV_I("inodes_wanted", want.files),
                 KV_I("bytes_used", room_used(s)));
    return NONE;
}

static void *evictor_main(void *arg) {
    struct store *s = arg;
    pthread_setname_np(pthread_self(), "evictor");
    thread_lower_priority();
    fill_queues(s);
    tell_filled(&s->evictor);
    int64_t flushed = clock_mono_ms();
    enum made made = ENOUGH;
    do {
        pthread_mutex_lock(&s->bulk_lock);
        made = make_room(s, made == NONE);
        pthread_mutex_unlock(&s->bulk_lock);
        tell_round(&s->evictor, made == SOME);
        if (clock_mono_ms() - flushed >= PERIOD_S * 1000) {
            held_flush_use(s);
            int r = writer_sync(s->writer); /* a power cut loses at most what was learned since */
            (void)r;                        /* the writer has logged it */
            if (scopes_crowded(s->scopes) && is_reconciled(s)) held_sweep_scopes(s);
            flushed = clock_mono_ms();
        }
        /* Eviction lets the index grow, too: looked at again soon. */
    } while (wait_for_work(&s->evictor, made == ENOUGH ? PERIOD_S : AGAIN_S, made == NONE));
    return NULL;
}

/* --- a disk that is full at start --- */

/* Whether a blob may go without asking the index: a manifest's children are known only there. */
static bool is_clearable(const struct store *s, const struct digest *d, const struct table_value *v) {
    return !(v->flags & BLOB_MANIFEST) && !guard_keeps(s, d, v->flags);
}

static int64_t clear_blobs(struct store *s, int64_t want) {
    size_t n;
    struct loaded *all = all_by_use(s, &n);
    int64_t freed = 0;
    free(s->cleared);
    s->cleared = xcalloc(n + 1, sizeof(*s->cleared));
    s->n_cleared = 0;
    /* Blobs that were used only once are removed first. */
    for (unsigned used_more = 0; used_more < 2; used_more++) {
        for (size_t i = 0; i < n && freed < want; i++) {
            struct digest d;
            struct table_value v;
            char path[STORE_PATH_MAX];
            uint32_t id = all[i].id;
            if ((table_freq(s->table, id) > 0) != used_more || !table_get(s->table, id, &d, &v) ||
                !is_clearable(s, &d, &v))
                continue;
            folder_blob_path(&d, path);
            if (unlinkat(s->dir_fd, path, 0) < 0 && errno != ENOENT) continue;
            s->cleared[s->n_cleared++] = d;
            freed += room_on_disk(s, v.size);
        }
    }
    free(all);
    return freed;
}

static int64_t clearable(struct store *s) {
    int64_t bytes = s->parts_on_disk;
    for (uint32_t id = 1, end = table_end(s->table); id < end; id++) {
        struct digest d;
        struct table_value v;
        if (table_get(s->table, id, &d, &v) && is_clearable(s, &d, &v)) bytes += room_on_disk(s, v.size);
    }
    return bytes;
}

int64_t space_clear(struct store *s) {
    if (store_eviction_held(s) || clearable(s) < CLEAR_MIN) return 0; /* removing them would not help */
    const struct room want = {.bytes = CLEAR_BYTES};
    struct room freed = {0};
    evict_parts(s, &want, clock_wall_s() - OLD_PART_S, INT64_MAX, &freed);
    if (freed.bytes < want.bytes) freed.bytes += clear_blobs(s, want.bytes - freed.bytes);
    evict_parts(s, &want, INT64_MAX, 0, &freed);
    log_warn("disk_full_at_start", KV_I("bytes_freed", freed.bytes), KV_I("blobs_removed", (int64_t)s->n_cleared));
    return freed.bytes;
}

/* There is an index now, and queues. */
static void forget_cleared(struct store *s) {
    for (size_t i = 0; i < s->n_cleared; i++) {
        struct table_value was;
        pthread_mutex_t *stripe = folder_stripe(s, &s->cleared[i]);
        pthread_mutex_lock(stripe);
        if (held_remove(s, &s->cleared[i], &was)) {
            s->evictions++;
            s->evicted_bytes += was.size;
        }
        pthread_mutex_unlock(stripe);
    }
    free(s->cleared);
    s->cleared = NULL;
    s->n_cleared = 0;
}

int space_start(struct store *s, struct error *err) {
    static const struct evict_ops ops = {size_of, freq_of, set_freq};
    s->evict = evict_new(&ops, s);
    forget_cleared(s);
    room_ask_disk(s);
    room_ask_index(s);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->evictor.lock, NULL);
    pthread_cond_init(&s->evictor.cond, &attr);
    pthread_condattr_destroy(&attr);
    int r = pthread_create(&s->evictor.thread, NULL, evictor_main, s);
    return r ? error_set(err, -r, "starting the evictor: %s", strerror(r)) : 0;
}

void space_stop(struct store *s) {
    struct evictor *e = &s->evictor;
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    pthread_cond_destroy(&e->cond);
    pthread_mutex_destroy(&e->lock);
}
