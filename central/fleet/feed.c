/* A commit wakes a job of the pool, which reads what is new and wakes the loops. However many commits there are, one job
 * runs at a time. Thread: as the header says. */
#include "central/fleet/feed.h"

#include "common/core/alloc.h"
#include "common/core/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_CHANGES 256
#define BATCH_BYTES (256 * KiB)

struct feed_loop {
    struct feed *feed;
    unsigned number;
    struct loop_task task;
};

struct feed {
    struct feed_config cfg;
    struct feed_loop *loops;
    struct work work;
    pthread_mutex_t lock; /* guards what follows; held for a few instructions */
    bool running, again;  /* the job runs; there may be more to read */
    bool behind;          /* the log could not be read when it was last tried */
    struct place place;
    struct feed_block *blocks[FEED_BLOCKS]; /* a ring */
    unsigned first, n;
};

void feed_block_unref(void *block) {
    struct feed_block *b = block;
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) free(b);
}

static void on_told(struct loop_task *task) {
    struct feed_loop *l = container_of(task, struct feed_loop, task);
    l->feed->cfg.told(l->number, l->feed->cfg.arg);
}

static void wake_loops(struct feed *f) {
    for (unsigned i = 0; i < f->cfg.n_loops; i++)
        loop_post_once(f->cfg.loops[i], &f->loops[i].task);
}

/* The place after the last message. False: it cannot be read. */
static bool last_place(const struct buf *messages, struct place *out) {
    size_t at = 0, skip, len;
    struct watch_message m = {0};
    bool good = false;
    while (at < messages->len &&
           message_next(messages->data + at, messages->len - at, WATCH_MESSAGE_MAX, &skip, &len) == 0) {
        at += skip + len;
        if (at < messages->len) continue;
        good = watch_message_decode(&m, messages->data + at - len, len) == 0 && m.has_place;
        if (good) *out = m.place;
        watch_message_fini(&m);
    }
    return good;
}

/* False: what the log holds cannot be understood. */
static bool publish(struct feed *f, const struct buf *messages) {
    struct place place;
    if (!last_place(messages, &place)) return false;
    struct feed_block *b = xmalloc(sizeof(*b) + messages->len);
    atomic_init(&b->refs, 1);
    b->place = place;
    b->len = messages->len;
    memcpy(b->bytes, messages->data, messages->len);
    struct feed_block *old = NULL;
    pthread_mutex_lock(&f->lock);
    b->before = f->place.number;
    f->place = place;
    if (f->n == FEED_BLOCKS) {
        old = f->blocks[f->first];
        f->first = (f->first + 1) % FEED_BLOCKS;
        f->n--;
    }
    f->blocks[(f->first + f->n++) % FEED_BLOCKS] = b;
    pthread_mutex_unlock(&f->lock);
    if (old) feed_block_unref(old);
    wake_loops(f);
    return true;
}

/* The log was cut before it was read. An edge that has not come to this place is not covered by what is in memory, and
 * finds in the log that it has to take the tiles that differ. False: the place cannot be read. */
static bool skip_what_was_cut(struct feed *f) {
    struct place now = {0};
    struct feed_block *old[FEED_BLOCKS];
    if (catalog_place(f->cfg.catalog, &now) < 0) return false;
    log_warn("changes_missed", KV_S("why", "the change log was cut before it was read"),
             KV_S("then", "edges take the tiles that differ"), KV_S("try", "raise catalog.log_entries"));
    pthread_mutex_lock(&f->lock);
    unsigned n = f->n;
    for (unsigned i = 0; i < n; i++)
        old[i] = f->blocks[(f->first + i) % FEED_BLOCKS];
    f->n = 0;
    f->place = now;
    pthread_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < n; i++)
        feed_block_unref(old[i]);
    wake_loops(f);
    return true;
}

/* False: there is nothing new. */
static bool read_some(struct feed *f) {
    struct buf messages;
    uint64_t last = f->place.number; /* changed by this job alone */
    buf_init(&messages, 8 * MiB);
    int r = catalog_changes_after(f->cfg.catalog, last, BATCH_CHANGES, BATCH_BYTES, &messages, &last);
    bool some = r == 0 && messages.len > 0;
    if (some && !publish(f, &messages)) r = ERR_CORRUPT;
    if (r == ERR_NOT_FOUND && skip_what_was_cut(f)) {
        some = true;
        r = 0;
    }
    if (r < 0)
        log_error("changes_unreadable", KV_S("why", error_name(r)),
                  KV_S("then", "edges hear nothing until they can be read"));
    buf_fini(&messages);
    pthread_mutex_lock(&f->lock);
    f->behind = r < 0;
    pthread_mutex_unlock(&f->lock);
    return some && r == 0;
}

static void publish_changes(struct work *w) {
    struct feed *f = container_of(w, struct feed, work);
    for (;;) {
        while (read_some(f))
            ;
        pthread_mutex_lock(&f->lock);
        bool over = !f->again;
        f->again = false;
        if (over) f->running = false;
        pthread_mutex_unlock(&f->lock);
        if (over) return;
    }
}

/* The catalogue's writer. */
static void on_changed(void *arg) {
    struct feed *f = arg;
    pthread_mutex_lock(&f->lock);
    bool begin = !f->running;
    f->again = f->running;
    f->running = true;
    pthread_mutex_unlock(&f->lock);
    if (begin) workpool_submit(f->cfg.pool, &f->work);
}

bool feed_is_behind(struct feed *f) {
    pthread_mutex_lock(&f->lock);
    bool behind = f->behind, begin = behind && !f->running;
    if (begin) f->running = true;
    pthread_mutex_unlock(&f->lock);
    if (begin) workpool_submit(f->cfg.pool, &f->work);
    return behind;
}

void feed_place(struct feed *f, struct place *out) {
    pthread_mutex_lock(&f->lock);
    *out = f->place;
    pthread_mutex_unlock(&f->lock);
}

bool feed_after(struct feed *f, uint64_t number, struct feed_block *out[FEED_BLOCKS], unsigned *n) {
    *n = 0;
    pthread_mutex_lock(&f->lock);
    bool covered = number >= f->place.number || (f->n > 0 && f->blocks[f->first]->before <= number);
    for (unsigned i = 0; covered && i < f->n; i++) {
        struct feed_block *b = f->blocks[(f->first + i) % FEED_BLOCKS];
        if (b->place.number <= number) continue;
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
        out[(*n)++] = b;
    }
    pthread_mutex_unlock(&f->lock);
    return covered;
}

struct feed *feed_new(const struct feed_config *cfg) {
    struct feed *f = xcalloc(1, sizeof(*f));
    f->cfg = *cfg;
    f->work.fn = publish_changes;
    pthread_mutex_init(&f->lock, NULL);
    f->loops = xcalloc(cfg->n_loops, sizeof(*f->loops));
    for (unsigned i = 0; i < cfg->n_loops; i++)
        f->loops[i] = (struct feed_loop){.feed = f, .number = i, .task = {.fn = on_told}};
    int r = catalog_place(cfg->catalog, &f->place);
    if (r < 0) log_error("changes_unreadable", KV_S("why", error_name(r)));
    catalog_follow(cfg->catalog, &(struct catalog_follower){on_changed, f});
    return f;
}

void feed_stop(struct feed *f) {
    catalog_follow(f->cfg.catalog, NULL);
}

void feed_free(struct feed *f) {
    if (!f) return;
    feed_stop(f);
    for (unsigned i = 0; i < f->n; i++)
        feed_block_unref(f->blocks[(f->first + i) % FEED_BLOCKS]);
    pthread_mutex_destroy(&f->lock);
    free(f->loops);
    free(f);
}
