/* One lock guards all; it is held for a message's worth of work at most. Thread: see held_set.h. */
#include "edge/reports/held_set.h"

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/records/holding_tiles.h"

#include <pthread.h>
#include <string.h>

#define TILE_WORDS (WIRE_HELD_TILES / 64)
#define LOOK_STEP 4096 /* numbers looked at while the lock is held */

struct tile {
    struct set_digest digest;
    uint32_t n;
};
struct key {
    uint8_t bytes[NUMBERED_DIGEST];
};

struct held_set {
    pthread_mutex_t lock;
    bool (*holds)(const struct digest *d, void *arg);
    void *arg;
    bool ready;         /* all that was held at the start is in the set */
    bool overflowed;    /* touched was full */
    bool taken;         /* central takes what is told of holdings */
    bool known;         /* and knows this set */
    bool compare, asks; /* the digests of the tiles are to be told; they are in the last report */
    struct digest_numbers *told;
    struct set_digest digest; /* of told */
    struct tile tiles[WIRE_HELD_TILES];
    struct key *touched;
    size_t n_touched;
    uint8_t gained[HELD_CHANGES_MAX][NUMBERED_DIGEST], lost[HELD_CHANGES_MAX][NUMBERED_DIGEST];
    size_t n_gained, n_lost;                       /* not taken yet */
    uint64_t wanted[TILE_WORDS], sent[TILE_WORDS]; /* tiles to tell whole; those in the last report */
    struct wire_held_tile whole[WIRE_HELD_TILES];
    uint8_t whole_bytes[HELD_WHOLE_MAX][NUMBERED_DIGEST];
    uint64_t lows[WIRE_HELD_TILES];
    int64_t repairs;
};

struct held_set *held_set_new(bool (*holds)(const struct digest *d, void *arg), void *arg) {
    struct held_set *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->holds = holds;
    s->arg = arg;
    s->told = digest_numbers_new();
    s->touched = xcalloc(HELD_TOUCHED_MAX, sizeof(*s->touched));
    return s;
}

void held_set_free(struct held_set *s) {
    if (!s) return;
    digest_numbers_free(s->told);
    free(s->touched);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- the set --- */

static bool is_told(const struct held_set *s, const uint8_t *digest) {
    return digest_numbers_find(s->told, digest) != NO_NUMBER;
}

/* False: it was there. */
static bool add(struct held_set *s, const uint8_t *digest) {
    if (is_told(s, digest) || digest_numbers_add(s->told, digest) == NO_NUMBER) return false;
    const struct set_digest e = holding_element(digest);
    struct tile *t = &s->tiles[holding_tile(digest)];
    set_digest_add(&s->digest, &e);
    set_digest_add(&t->digest, &e);
    t->n++;
    return true;
}

static bool take_out(struct held_set *s, const uint8_t *digest) {
    uint32_t number = digest_numbers_find(s->told, digest);
    if (number == NO_NUMBER) return false;
    const struct set_digest e = holding_element(digest);
    struct tile *t = &s->tiles[holding_tile(digest)];
    set_digest_take(&s->digest, &e);
    set_digest_take(&t->digest, &e);
    t->n--;
    digest_numbers_remove(s->told, number);
    return true;
}

static bool is_held(const struct held_set *s, const uint8_t *digest) {
    struct digest d = {.alg = DIGEST_SHA256};
    memcpy(d.bytes, digest, NUMBERED_DIGEST);
    return s->holds(&d, s->arg);
}

/* --- what may have changed --- */

static void touch(struct held_set *s, const uint8_t *digest) {
    if (s->n_touched < HELD_TOUCHED_MAX)
        memcpy(s->touched[s->n_touched++].bytes, digest, NUMBERED_DIGEST);
    else
        s->overflowed = true;
}

void held_set_touch(struct held_set *s, const struct digest *d) {
    if (d->alg != DIGEST_SHA256) return;
    pthread_mutex_lock(&s->lock);
    touch(s, d->bytes);
    pthread_mutex_unlock(&s->lock);
}

void held_set_see(struct held_set *s, const struct digest *d) {
    if (d->alg != DIGEST_SHA256) return;
    pthread_mutex_lock(&s->lock);
    if (!s->ready)
        add(s, d->bytes);
    else if (!is_told(s, d->bytes))
        touch(s, d->bytes);
    pthread_mutex_unlock(&s->lock);
}

/* True: there is more. */
static bool see_lost(struct held_set *s, uint32_t *number) {
    pthread_mutex_lock(&s->lock);
    uint32_t end = digest_numbers_end(s->told);
    for (uint32_t i = 0; i < LOOK_STEP && *number < end; i++, (*number)++) {
        const uint8_t *digest = digest_numbers_get(s->told, *number);
        if (digest && !is_held(s, digest)) touch(s, digest);
    }
    pthread_mutex_unlock(&s->lock);
    return *number < end;
}

void held_set_look(struct held_set *s, void (*each_held)(struct held_set *s, void *arg), void *arg) {
    uint32_t number = 0;
    each_held(s, arg);
    while (see_lost(s, &number))
        ;
    pthread_mutex_lock(&s->lock);
    s->ready = true;
    pthread_mutex_unlock(&s->lock);
}

bool held_set_wants_look(struct held_set *s) {
    pthread_mutex_lock(&s->lock);
    bool wants = s->overflowed && s->n_touched < HELD_TOUCHED_MAX / 2;
    if (wants) s->overflowed = false;
    pthread_mutex_unlock(&s->lock);
    return wants;
}

/* --- telling --- */

static int by_digest(const void *a, const void *b) {
    return memcmp(a, b, NUMBERED_DIGEST);
}

static void find_change(struct held_set *s, const uint8_t *digest) {
    if (is_held(s, digest)) {
        if (add(s, digest)) memcpy(s->gained[s->n_gained++], digest, NUMBERED_DIGEST);
    } else if (take_out(s, digest)) {
        memcpy(s->lost[s->n_lost++], digest, NUMBERED_DIGEST);
    }
}

/* A digest that was touched twice is looked at once, so that it never stands in both lists. */
static void find_changes(struct held_set *s) {
    while (s->n_touched > 0 && s->n_gained + s->n_lost == 0) {
        size_t n = s->n_touched < HELD_CHANGES_MAX ? s->n_touched : HELD_CHANGES_MAX;
        struct key *first = s->touched + s->n_touched - n;
        qsort(first, n, sizeof(*first), by_digest);
        for (size_t i = 0; i < n; i++) {
            if (i == 0 || by_digest(&first[i], &first[i - 1]) != 0) find_change(s, first[i].bytes);
        }
        s->n_touched -= n;
    }
}

static bool has(const uint64_t *bits, unsigned tile) {
    return bits[tile / 64] >> (tile % 64) & 1;
}

static bool has_any(const uint64_t bits[TILE_WORDS]) {
    for (unsigned i = 0; i < TILE_WORDS; i++)
        if (bits[i]) return true;
    return false;
}

/* Chooses wanted tiles for one report, and gives each its part of whole_bytes. Returns their number. */
static size_t choose_tiles(struct held_set *s, size_t room) {
    size_t n = 0, used = 0;
    for (unsigned t = 0; t < WIRE_HELD_TILES; t++) {
        if (!has(s->wanted, t)) continue;
        if (s->tiles[t].n > HELD_WHOLE_MAX) {
            log_warn("holdings_tile_too_large", KV_I("tile", t), KV_I("blobs", s->tiles[t].n));
            s->wanted[t / 64] &= ~(1ULL << (t % 64));
        } else if (used + s->tiles[t].n <= room) {
            s->whole[n++] = (struct wire_held_tile){t, {s->whole_bytes[used], 0}};
            s->sent[t / 64] |= 1ULL << (t % 64);
            used += s->tiles[t].n;
        }
    }
    return n;
}

static void fill_tiles(struct held_set *s, size_t n_whole) {
    uint16_t place[WIRE_HELD_TILES];
    for (size_t i = 0; i < n_whole; i++)
        place[s->whole[i].tile] = (uint16_t)i;
    for (uint32_t number = 0, end = digest_numbers_end(s->told); number < end; number++) {
        const uint8_t *digest = digest_numbers_get(s->told, number);
        if (!digest || !has(s->sent, holding_tile(digest))) continue;
        struct wire_digests *to = &s->whole[place[holding_tile(digest)]].held;
        memcpy(to->bytes + to->n++ * NUMBERED_DIGEST, digest, NUMBERED_DIGEST);
    }
}

static void tell_tiles(struct held_set *s, struct wire_holdings *out) {
    memset(s->sent, 0, sizeof(s->sent));
    if (!has_any(s->wanted)) return;
    size_t n = choose_tiles(s, HELD_WHOLE_MAX - s->n_gained - s->n_lost);
    fill_tiles(s, n);
    out->whole = s->whole;
    out->n_whole = n;
}

static void tell_digests(struct held_set *s, struct wire_holdings *out) {
    for (unsigned t = 0; t < WIRE_HELD_TILES; t++)
        s->lows[t] = s->tiles[t].digest.low;
    out->tiles = s->lows;
}

bool held_set_tell(struct held_set *s, struct wire_holdings *out) {
    *out = (struct wire_holdings){0};
    pthread_mutex_lock(&s->lock);
    bool ready = s->ready;
    if (ready && s->taken) {
        find_changes(s);
        out->gained = (struct wire_digests){s->gained[0], s->n_gained};
        out->lost = (struct wire_digests){s->lost[0], s->n_lost};
        s->asks = s->compare;
        if (s->asks)
            tell_digests(s, out);
        else
            tell_tiles(s, out);
    }
    if (ready) set_digest_put(&s->digest, out->digest);
    pthread_mutex_unlock(&s->lock);
    return ready;
}

/* --- what central says --- */

static void take_wanted(struct held_set *s, const struct wire_report_response *rs) {
    for (size_t i = 0; i < rs->n_wanted; i++)
        s->wanted[rs->wanted[i] / 64] |= 1ULL << (rs->wanted[i] % 64);
    s->compare = false;
}

static void tiles_taken(struct held_set *s) {
    for (unsigned i = 0; i < TILE_WORDS; i++) {
        s->wanted[i] &= ~s->sent[i];
        s->repairs += __builtin_popcountll(s->sent[i]);
        s->sent[i] = 0;
    }
}

/* A central that takes nothing is told the digest alone, until it says how its own compares. */
static void taken(struct held_set *s, const struct wire_report_response *rs) {
    s->taken = rs->holdings != WIRE_HOLDINGS_NOT_TAKEN;
    s->known = rs->holdings == WIRE_HOLDINGS_EQUAL;
    if (!s->taken) return;
    s->n_gained = s->n_lost = 0;
    if (s->asks)
        take_wanted(s, rs);
    else
        tiles_taken(s);
    s->asks = false;
    if (s->known)
        memset(s->wanted, 0, sizeof(s->wanted));
    else if (!has_any(s->wanted))
        s->compare = true;
}

bool held_set_answered(struct held_set *s, const struct wire_report_response *rs) {
    pthread_mutex_lock(&s->lock);
    if (rs && s->ready) taken(s, rs);
    if (!rs) s->known = false;
    bool more = rs && s->taken && (s->n_touched > 0 || has_any(s->wanted) || s->compare);
    pthread_mutex_unlock(&s->lock);
    return more;
}

void held_set_stats(struct held_set *s, struct held_set_stats *out) {
    pthread_mutex_lock(&s->lock);
    *out = (struct held_set_stats){.held = (int64_t)digest_numbers_count(s->told),
                                   .waiting = (int64_t)(s->n_touched + s->n_gained + s->n_lost),
                                   .repairs = s->repairs,
                                   .known = s->known && s->n_touched + s->n_gained + s->n_lost == 0};
    pthread_mutex_unlock(&s->lock);
}
