/* Applies changes, compares digests, and asks for the tiles that differ. Thread: the fetch loop, but for what the
 * header marks. */
#include "edge/replica/follow.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/records/tile_body.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX /* as_of of a tile that is not kept: no change is applied to it */
#define BUFFER_MAX (2 * WATCH_MESSAGE_MAX)

struct tile {
    uint64_t as_of;    /* every change up to here is in it */
    uint64_t ignored;  /* the last change that was not applied, because it was not known to be right */
    bool wanted, full; /* full: a name in it was not known here */
};

struct follow {
    struct follow_config cfg;
    struct buf in;
    bool streams, greeted, asking; /* there is a stream; its first message has come; something is being fetched */
    bool paused;                   /* a poll has ended, and the next has not sent its first message */
    struct place said;             /* central's own words of the place at `number` */
    bool has_place;                /* the replica was equal to central's at `number` of this epoch */
    bool compared;                 /* the list of tiles has been asked for and read since all was doubted */
    bool part;                     /* not all of it is kept */
    uint64_t stream, asked_in; /* the number of the stream, and of the one in which the request under way was made */
    uint64_t settings, number, verify_from;
    uint64_t upto;        /* what central had when the stream began: before that is here, a tag may be old */
    size_t wanted_before; /* when the tiles under way were asked for */
    uint8_t epoch[EPOCH_BYTES];
    struct tile tiles[TILES];
    size_t n_wanted;
    unsigned next; /* where to look for the next wanted tile */
    /* For readers. */
    _Atomic uint64_t live;         /* the version of central's settings; 0: no stream */
    _Atomic int64_t clock_ahead_s; /* this node's clock less central's */
    atomic_bool right[TILES];
    pthread_mutex_t lock; /* guards the numbers for people */
    struct follow_stats stats;
};

static void note(struct follow *f, enum follow_state s) {
    struct follow_stats *st = &f->stats;
    pthread_mutex_lock(&f->lock);
    st->state = s;
    memcpy(st->place.epoch, f->epoch, EPOCH_BYTES);
    st->place.number = f->number;
    replica_digest(f->cfg.replica, &st->place.digest);
    st->tiles_wanted = (int64_t)f->n_wanted;
    st->live = atomic_load(&f->live) != 0;
    pthread_mutex_unlock(&f->lock);
}

static void count(struct follow *f, int64_t *which) {
    pthread_mutex_lock(&f->lock);
    ++*which;
    pthread_mutex_unlock(&f->lock);
}

static void set_right(struct follow *f, unsigned tile, uint64_t as_of) {
    f->tiles[tile].as_of = as_of;
    atomic_store_explicit(&f->right[tile], as_of != NEVER, memory_order_release);
    if (as_of != NEVER && as_of > f->verify_from) f->verify_from = as_of;
}

/* --- comparing and fetching --- */

static void doubt_all(struct follow *f) {
    f->has_place = f->compared = false;
    f->n_wanted = 0;
    f->part = false;
    f->verify_from = 0;
    for (unsigned i = 0; i < TILES; i++) {
        atomic_store_explicit(&f->right[i], false, memory_order_release);
        f->tiles[i] = (struct tile){.ignored = f->tiles[i].ignored};
    }
}

static void compare(struct follow *f) {
    note(f, FOLLOW_COMPARING);
    if (f->asking) return; /* once that is over */
    f->asking = true;
    f->asked_in = f->stream;
    f->cfg.want_list(f->cfg.arg);
}

/* The replica differs from central's catalogue, although every change was applied. */
static void on_mismatch(struct follow *f, const char *where) {
    char text[PLACE_TEXT_MAX];
    struct place p = {.number = f->number};
    memcpy(p.epoch, f->epoch, EPOCH_BYTES);
    log_warn("replica_differs", KV_S("place", place_short(&p, text)), KV_S("by", where),
             KV_S("then", "the tiles that differ are fetched"));
    count(f, &f->stats.mismatches);
    doubt_all(f);
    compare(f);
}

static void verify(struct follow *f, const struct place *p) {
    struct set_digest ours;
    if (!f->has_place || f->part || p->number != f->number || p->number < f->verify_from) return;
    replica_digest(f->cfg.replica, &ours);
    if (!set_digest_eq(&ours, &p->digest)) on_mismatch(f, "the digest of all");
}

static void become_equal(struct follow *f) {
    f->has_place = true;
    note(f, f->part ? FOLLOW_PART : FOLLOW_EQUAL);
}

static void go_on(struct follow *f) {
    unsigned some[FOLLOW_TILES_MAX];
    size_t n = 0;
    if (f->asking || !f->streams || f->has_place) return;
    if (!f->compared) { /* the list under way was asked for by an earlier stream */
        compare(f);
        return;
    }
    if (f->n_wanted == 0) {
        become_equal(f);
        return;
    }
    for (unsigned looked = 0; looked < TILES && n < FOLLOW_TILES_MAX; looked++) {
        const struct tile *t = &f->tiles[f->next];
        if (t->wanted && (n == 0 || t->full == f->tiles[some[0]].full)) some[n++] = f->next;
        if (n < FOLLOW_TILES_MAX) f->next = (f->next + 1) % TILES;
    }
    note(f, FOLLOW_FETCHING);
    f->asking = true;
    f->asked_in = f->stream;
    f->wanted_before = f->n_wanted;
    f->cfg.want_tiles(some, n, f->tiles[some[0]].full, f->cfg.arg);
}

static void want(struct follow *f, unsigned tile) {
    if (!f->tiles[tile].wanted) f->n_wanted++;
    f->tiles[tile].wanted = true;
}

/* Tags come first, so that they are answered long before the rest is here. Where no blob is known their short names would
 * mean nothing, and they would have to be fetched again at the end. */
static void compare_tiles(struct follow *f, const struct tile_list *list) {
    struct replica_stats held;
    size_t at = 0;
    replica_stats(f->cfg.replica, &held);
    f->next = 0;
    for (unsigned i = 0; i < TILES; i++) {
        struct set_digest theirs = {0}, ours;
        if (at < list->n && list->tiles[at].tile == i) theirs = list->tiles[at++].digest;
        replica_tile_digest(f->cfg.replica, i, &ours);
        if (set_digest_eq(&ours, &theirs) && f->tiles[i].ignored <= list->place.number)
            set_right(f, i, list->place.number);
        else
            want(f, i);
        f->tiles[i].full = held.records[RECORD_BLOB] == 0 && tile_kind(i) == RECORD_TAG;
    }
}

void follow_list(struct follow *f, const void *data, size_t len) {
    struct tile_list list = {0};
    f->asking = false;
    if (!f->streams || !f->greeted || !data) return;
    if (f->asked_in != f->stream) { /* central may have been restored from a backup since */
        go_on(f);
        return;
    }
    int r = tile_list_decode(&list, data, len);
    if (r < 0) {
        log_warn("tile_list_unreadable", KV_S("why", error_name(r)));
    } else if (memcmp(list.place.epoch, f->epoch, EPOCH_BYTES) != 0) {
        f->cfg.restart(f->cfg.arg); /* another central, or another catalogue */
    } else {
        count(f, &f->stats.compared);
        doubt_all(f);
        f->compared = true;
        compare_tiles(f, &list);
        go_on(f);
    }
    tile_list_fini(&list);
}

static void take_tile(struct follow *f, const struct tile_message *m, const struct tile_records *records) {
    struct tile *t = &f->tiles[m->tile];
    struct set_digest got;
    int r = replica_set_tile(f->cfg.replica, m->tile, records);
    if (r == 0) {
        replica_tile_digest(f->cfg.replica, m->tile, &got);
        if (!set_digest_eq(&got, &m->place.digest)) {
            log_warn("tile_differs", KV_I("tile", m->tile));
            count(f, &f->stats.mismatches);
            return; /* it stays wanted */
        }
    }
    if (r < 0) f->part = true;
    if (r == 0 && t->ignored > m->place.number) return; /* too old: a change was missed */
    set_right(f, m->tile, r == 0 ? m->place.number : NEVER);
    if (t->wanted) f->n_wanted--;
    t->wanted = false;
    count(f, &f->stats.tiles_fetched);
}

/* The names in this tile are looked up at central from now on. */
static void leave_tile(struct follow *f, unsigned tile) {
    struct tile *t = &f->tiles[tile];
    log_info("tile_too_big", KV_I("tile", tile), KV_S("then", "what it holds is asked for at central"));
    f->part = true;
    set_right(f, tile, NEVER);
    replica_empty_tile(f->cfg.replica, tile);
    if (t->wanted) f->n_wanted--;
    t->wanted = false;
}

void follow_tile(struct follow *f, const void *data, size_t len) {
    struct tile_message m = {0};
    struct tile_records records;
    int r = tile_message_decode(&m, data, len);
    if (r == 0 && f->asked_in == f->stream && f->tiles[m.tile].wanted &&
        memcmp(m.place.epoch, f->epoch, EPOCH_BYTES) == 0) {
        tile_records_init(&records, tile_kind(m.tile));
        const struct record_names names = {.blob = replica_named, .arg = f->cfg.replica};
        if (m.too_big)
            leave_tile(f, m.tile);
        else
            r = tile_body_unpack(m.tile, m.body, m.body_len, &names, &records);
        if (r == 0 && !m.too_big) take_tile(f, &m, &records);
        if (r == ERR_NOT_FOUND && !f->tiles[m.tile].full) {
            f->tiles[m.tile].full = true;
            f->wanted_before++; /* that is progress, too */
            r = 0;
        }
        tile_records_fini(&records);
    }
    if (r < 0) log_warn("tile_unreadable", KV_S("why", error_name(r)));
    tile_message_fini(&m);
}

void follow_fetched(struct follow *f, bool good) {
    f->asking = false;
    /* Without progress it is tried again later (follow_again). */
    if (!f->compared || (good && f->n_wanted < f->wanted_before)) go_on(f);
}

void follow_again(struct follow *f) {
    if (!f->streams || !f->greeted || f->has_place || f->asking) return;
    go_on(f);
}

/* --- the stream --- */

static void apply(struct follow *f, const struct watch_change *c) {
    size_t key_len = record_key_len(c->kind, c->record, c->len);
    unsigned tile = record_tile(c->kind, c->record, key_len);
    struct tile *t = &f->tiles[tile];
    if (c->number <= f->number || c->number <= t->as_of) return;
    if (!atomic_load_explicit(&f->right[tile], memory_order_relaxed)) {
        t->ignored = c->number;
        return;
    }
    if (c->removed) {
        replica_remove(f->cfg.replica, c->kind, c->record, key_len);
    } else if (replica_put(f->cfg.replica, c->kind, c->record, c->len) < 0) {
        f->part = true;
        set_right(f, tile, NEVER);
        replica_empty_tile(f->cfg.replica, tile);
    }
}

static void live_if_it_is(struct follow *f) {
    if (f->number >= f->upto) atomic_store(&f->live, f->settings);
}

static void greet(struct follow *f, const struct watch_message *m) {
    if (m->version == 0 || !m->has_place) {
        note(f, FOLLOW_OLD);
        return;
    }
    f->greeted = true;
    bool goes_on = f->paused && !m->gone && place_same_epoch(&m->place, &f->said) && m->place.number == f->number;
    if (f->paused && !goes_on) f->stream++; /* what is being fetched was asked for before */
    f->paused = false;
    f->said = m->place;
    bool other = memcmp(f->epoch, m->place.epoch, EPOCH_BYTES) != 0;
    replica_set_epoch(f->cfg.replica, m->place.epoch);
    memcpy(f->epoch, m->place.epoch, EPOCH_BYTES);
    f->number = m->place.number;
    f->upto = m->upto;
    live_if_it_is(f);
    if (goes_on && !f->has_place) return;
    if (!m->gone && f->has_place) {
        verify(f, &m->place);
        if (f->has_place) note(f, f->part ? FOLLOW_PART : FOLLOW_EQUAL);
        return;
    }
    for (unsigned i = 0; i < TILES; i++) {
        if (other || f->tiles[i].ignored > m->place.number) f->tiles[i].ignored = 0;
    }
    doubt_all(f);
    compare(f);
}

static void on_message(struct follow *f, const struct watch_message *m) {
    if (m->now_s > 0) atomic_store(&f->clock_ahead_s, clock_wall_s() - m->now_s);
    if (m->fleet && f->cfg.fleet) f->cfg.fleet(m->fleet, f->cfg.arg);
    if (m->has_dns && f->cfg.dns) f->cfg.dns(&m->dns, f->cfg.arg);
    if (!f->greeted || f->paused) {
        greet(f, m);
        return;
    }
    if (!m->has_place || memcmp(m->place.epoch, f->epoch, EPOCH_BYTES) != 0 || m->place.number < f->number) return;
    for (size_t i = 0; i < m->n_changes; i++)
        apply(f, &m->changes[i]);
    f->number = m->place.number;
    f->said = m->place;
    live_if_it_is(f);
    verify(f, &m->place);
    if (f->has_place) note(f, f->part ? FOLLOW_PART : FOLLOW_EQUAL);
}

/* The messages that are whole. False: the stream cannot be read. */
static bool take_messages(struct follow *f, size_t *used) {
    size_t skip, len;
    int r = 0;
    *used = 0;
    while (f->streams) {
        const char *at = f->in.data ? f->in.data + *used : "";
        r = message_next(at, f->in.len - *used, WATCH_MESSAGE_MAX, &skip, &len);
        if (r < 0) break;
        struct watch_message m = {0};
        r = watch_message_decode(&m, at + skip, len);
        if (r == 0) on_message(f, &m);
        watch_message_fini(&m);
        *used += skip + len;
        if (r < 0) break;
    }
    if (r == 0 || r == ERR_BUSY) return true;
    log_warn("watch_unreadable", KV_S("why", error_name(r)));
    return false;
}

void follow_data(struct follow *f, const void *data, size_t len) {
    size_t used = 0;
    if (!f->streams) return;
    pthread_mutex_lock(&f->lock);
    f->stats.heard_ms = clock_mono_ms();
    pthread_mutex_unlock(&f->lock);
    bool good = buf_add(&f->in, data, len) == 0 && take_messages(f, &used);
    if (!good) {
        /* The rest of the stream is not read, and the replica no longer counts as current. */
        count(f, &f->stats.unreadable);
        follow_end(f);
        f->cfg.restart(f->cfg.arg);
        return;
    }
    if (!f->streams) return;
    memmove(f->in.data, f->in.data + used, f->in.len - used);
    f->in.len -= used;
}

bool follow_place(const struct follow *f, struct place *p) {
    if (!f->has_place || f->part || f->number < f->verify_from) return false;
    memcpy(p->epoch, f->epoch, EPOCH_BYTES);
    p->number = f->number;
    replica_digest(f->cfg.replica, &p->digest);
    return true;
}

void follow_resume(struct follow *f, const struct place *p) {
    memcpy(f->epoch, p->epoch, EPOCH_BYTES);
    f->number = p->number;
    f->has_place = true;
    for (unsigned i = 0; i < TILES; i++)
        set_right(f, i, p->number);
    note(f, FOLLOW_OFF);
}

void follow_from(const struct follow *f, char out[PLACE_TEXT_MAX]) {
    struct place p;
    memcpy(out, "none", 5);
    if (f->paused)
        place_text(&f->said, out);
    else if (follow_place(f, &p))
        place_text(&p, out);
}

void follow_pause(struct follow *f) {
    if (!f->streams || !f->greeted) return;
    f->paused = true;
    buf_clear(&f->in);
}

void follow_begin(struct follow *f, uint64_t settings) {
    if (!f->paused) {
        f->stream++;
        f->greeted = false;
    }
    f->streams = true;
    f->settings = settings;
    buf_clear(&f->in);
}

void follow_end(struct follow *f) {
    atomic_store(&f->live, 0);
    f->streams = f->greeted = f->paused = false;
    buf_clear(&f->in);
    if (f->cfg.dns) f->cfg.dns(NULL, f->cfg.arg);
    note(f, FOLLOW_OFF);
}

/* --- readers --- */

bool follow_tag(const struct follow *f, uint64_t settings, const struct repo_name *repo, const char *tag,
                struct tag_facts *t) {
    uint64_t live = atomic_load(&f->live);
    if (live == 0 || live != settings) return false;
    uint8_t key[RECORD_TAG_KEY_MAX];
    size_t len = record_tag_key(repo, tag, key);
    bool right = len > 0 && atomic_load_explicit(&f->right[record_tile(RECORD_TAG, key, len)], memory_order_acquire);
    if (!right || !replica_tag(f->cfg.replica, key, len, t)) return false;
    t->checked_at += atomic_load(&f->clock_ahead_s);
    return true;
}

const char *follow_state_name(enum follow_state s) {
    static const char *const names[] = {
        [FOLLOW_OFF] = "no stream",     [FOLLOW_OLD] = "central is older",   [FOLLOW_COMPARING] = "comparing",
        [FOLLOW_FETCHING] = "fetching", [FOLLOW_EQUAL] = "equal to central", [FOLLOW_PART] = "in part"};
    return names[s];
}

void follow_stats(const struct follow *f, struct follow_stats *out) {
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&f->lock;
    pthread_mutex_lock(lock);
    *out = f->stats;
    out->clock_ahead_s = atomic_load(&f->clock_ahead_s);
    pthread_mutex_unlock(lock);
}

struct follow *follow_new(const struct follow_config *cfg) {
    struct follow *f = xcalloc(1, sizeof(*f));
    f->cfg = *cfg;
    pthread_mutex_init(&f->lock, NULL);
    buf_init(&f->in, BUFFER_MAX);
    return f;
}

void follow_free(struct follow *f) {
    if (!f) return;
    buf_fini(&f->in);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
