/* Digests by numbers, and bitmaps of numbers. Thread: see holdings.h. */
#include "central/reports/holdings.h"

#include "common/core/alloc.h"
#include "common/core/map.h"

#include <pthread.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <string.h>

#define STEP 256 /* changes made while the lock is held */

struct holder {
    char name[MEMBER_NAME_MAX], site[MEMBER_NAME_MAX];
    roaring_bitmap_t *numbers;
    struct set_digest sum;
    int64_t count;
};

struct site {
    struct holder **edges;
    size_t n, cap;
};

struct holdings {
    pthread_rwlock_t lock;
    size_t blobs_max;
    int state;
    struct known {
        struct digest_numbers *numbers;
        uint32_t *holders; /* of each number, how many edges hold it */
        uint32_t holders_cap;
        struct map *edges, *sites;
    } known;
};

struct holdings_keep {
    roaring_bitmap_t *numbers;
};

/* --- life --- */

static void holder_free(void *p) {
    struct holder *e = p;
    roaring_bitmap_free(e->numbers);
    free(e);
}

static void site_free(void *p) {
    free(((struct site *)p)->edges);
    free(p);
}

struct holdings *holdings_new(size_t blobs_max) {
    struct holdings *h = xcalloc(1, sizeof(*h));
    pthread_rwlock_init(&h->lock, NULL);
    h->blobs_max = blobs_max;
    h->known.numbers = digest_numbers_new();
    h->known.edges = map_new(holder_free);
    h->known.sites = map_new(site_free);
    return h;
}

void holdings_free(struct holdings *h) {
    if (!h) return;
    map_free(h->known.sites);
    map_free(h->known.edges);
    digest_numbers_free(h->known.numbers);
    free(h->known.holders);
    pthread_rwlock_destroy(&h->lock);
    free(h);
}

/* --- whether all is known --- */

int holdings_state(struct holdings *h) {
    pthread_rwlock_rdlock(&h->lock);
    int state = h->state;
    pthread_rwlock_unlock(&h->lock);
    return state;
}

void holdings_set_state(struct holdings *h, int state) {
    pthread_rwlock_wrlock(&h->lock);
    h->state = state;
    pthread_rwlock_unlock(&h->lock);
}

struct holdings *holdings_new_like(const struct holdings *h) {
    return holdings_new(h->blobs_max);
}

void holdings_adopt(struct holdings *h, struct holdings *read) {
    pthread_rwlock_wrlock(&h->lock);
    struct known before = h->known;
    h->known = read->known;
    h->state = 0;
    pthread_rwlock_unlock(&h->lock);
    read->known = before;
    holdings_free(read);
}

/* --- edges --- */

static void site_add(struct holdings *h, struct holder *e) {
    struct site *s = map_get_s(h->known.sites, e->site);
    if (!s) {
        s = xcalloc(1, sizeof(*s));
        map_set_s(h->known.sites, e->site, s);
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 4;
        s->edges = xrealloc(s->edges, s->cap, sizeof(struct holder *));
    }
    s->edges[s->n++] = e;
}

struct holder *holdings_edge(struct holdings *h, const char *name, const char *site) {
    pthread_rwlock_wrlock(&h->lock);
    struct holder *e = map_get_s(h->known.edges, name);
    if (!e) {
        e = xcalloc(1, sizeof(*e));
        snprintf(e->name, sizeof(e->name), "%s", name);
        snprintf(e->site, sizeof(e->site), "%s", site);
        e->numbers = roaring_bitmap_create();
        map_set_s(h->known.edges, name, e);
        site_add(h, e);
    }
    pthread_rwlock_unlock(&h->lock);
    return e;
}

struct holder *holdings_find(struct holdings *h, const char *name) {
    pthread_rwlock_rdlock(&h->lock);
    struct holder *e = map_get_s(h->known.edges, name);
    pthread_rwlock_unlock(&h->lock);
    return e;
}

const char *holder_name(const struct holder *e) {
    return e->name;
}

const char *holder_site(const struct holder *e) {
    return e->site;
}

/* --- what is to be written --- */

static void note(uint32_t **list, size_t *n, size_t *cap, uint32_t value) {
    if (*n > 0 && (*list)[*n - 1] == value) return;
    if (*n == *cap) {
        *cap = *cap ? 2 * *cap : 64;
        *list = xrealloc(*list, *cap, sizeof(**list));
    }
    (*list)[(*n)++] = value;
}

static void note_number(struct holdings_dirty *d, uint32_t number) {
    note(&d->numbers, &d->n_numbers, &d->cap_numbers, number);
}

static void note_part(struct holdings_dirty *d, uint32_t number) {
    note(&d->parts, &d->n_parts, &d->cap_parts, number >> HOLDINGS_PART_BITS);
}

void holdings_dirty_fini(struct holdings_dirty *d) {
    free(d->numbers);
    free(d->parts);
    *d = (struct holdings_dirty){0};
}

/* --- changes, under the write lock --- */

static void count_holder(struct known *k, uint32_t number) {
    if (number >= k->holders_cap) {
        uint32_t cap = digest_numbers_end(k->numbers);
        k->holders = xrealloc(k->holders, cap, sizeof(*k->holders));
        memset(k->holders + k->holders_cap, 0, (cap - k->holders_cap) * sizeof(*k->holders));
        k->holders_cap = cap;
    }
    k->holders[number]++;
}

static uint32_t number_for(struct holdings *h, const uint8_t *digest, struct holdings_dirty *dirty) {
    uint32_t number = digest_numbers_find(h->known.numbers, digest);
    if (number != NO_NUMBER || digest_numbers_count(h->known.numbers) >= h->blobs_max) return number;
    number = digest_numbers_add(h->known.numbers, digest);
    if (number != NO_NUMBER) note_number(dirty, number);
    return number;
}

static bool gain(struct holdings *h, struct holder *e, const uint8_t *digest, struct holdings_dirty *dirty) {
    uint32_t number = digest_numbers_find(h->known.numbers, digest);
    if (number != NO_NUMBER && roaring_bitmap_contains(e->numbers, number)) return true;
    if ((size_t)e->count >= h->blobs_max / 2) return false;
    number = number_for(h, digest, dirty);
    if (number == NO_NUMBER) return false;
    const struct set_digest element = holding_element(digest);
    roaring_bitmap_add(e->numbers, number);
    count_holder(&h->known, number);
    set_digest_add(&e->sum, &element);
    e->count++;
    note_part(dirty, number);
    return true;
}

static void lose(struct holdings *h, struct holder *e, uint32_t number, struct holdings_dirty *dirty) {
    if (!roaring_bitmap_remove_checked(e->numbers, number)) return;
    const struct set_digest element = holding_element(digest_numbers_get(h->known.numbers, number));
    set_digest_take(&e->sum, &element);
    e->count--;
    note_part(dirty, number);
    if (--h->known.holders[number] > 0) return;
    digest_numbers_remove(h->known.numbers, number);
    note_number(dirty, number);
}

/* --- changes --- */

int holdings_gain(struct holdings *h, struct holder *e, const uint8_t *digests, size_t n,
                  struct holdings_dirty *dirty) {
    bool all = true;
    for (size_t i = 0; i < n;) {
        pthread_rwlock_wrlock(&h->lock);
        for (size_t end = n - i < STEP ? n : i + STEP; i < end; i++)
            all = gain(h, e, digests + i * NUMBERED_DIGEST, dirty) && all;
        pthread_rwlock_unlock(&h->lock);
    }
    return all ? 0 : ERR_BUSY;
}

void holdings_lose(struct holdings *h, struct holder *e, const uint8_t *digests, size_t n,
                   struct holdings_dirty *dirty) {
    for (size_t i = 0; i < n;) {
        pthread_rwlock_wrlock(&h->lock);
        for (size_t end = n - i < STEP ? n : i + STEP; i < end; i++) {
            uint32_t number = digest_numbers_find(h->known.numbers, digests + i * NUMBERED_DIGEST);
            if (number != NO_NUMBER) lose(h, e, number, dirty);
        }
        pthread_rwlock_unlock(&h->lock);
    }
}

struct holdings_keep *holdings_keep_new(void) {
    struct holdings_keep *k = xcalloc(1, sizeof(*k));
    k->numbers = roaring_bitmap_create();
    return k;
}

void holdings_keep_free(struct holdings_keep *k) {
    if (!k) return;
    roaring_bitmap_free(k->numbers);
    free(k);
}

/* The one thread that changes the numbers needs no lock to read them. */
void holdings_keep_add(const struct holdings *h, struct holdings_keep *k, const uint8_t *digests, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t number = digest_numbers_find(h->known.numbers, digests + i * NUMBERED_DIGEST);
        if (number != NO_NUMBER) roaring_bitmap_add(k->numbers, number);
    }
}

struct surplus {
    const struct holdings *h;
    const struct holdings_keep *keep;
    const uint64_t *tiles;
    uint32_t *numbers;
    size_t n, cap;
};

static bool find_surplus(uint32_t number, void *arg) {
    struct surplus *s = arg;
    unsigned tile = holding_tile(digest_numbers_get(s->h->known.numbers, number));
    if (s->tiles[tile / 64] >> (tile % 64) & 1 && !roaring_bitmap_contains(s->keep->numbers, number))
        note(&s->numbers, &s->n, &s->cap, number);
    return true;
}

void holdings_keep_only(struct holdings *h, struct holder *e, const struct holdings_keep *k,
                        const uint64_t tiles[HOLDING_TILE_WORDS], struct holdings_dirty *dirty) {
    struct surplus s = {.h = h, .keep = k, .tiles = tiles};
    roaring_iterate(e->numbers, find_surplus, &s);
    for (size_t i = 0; i < s.n;) {
        pthread_rwlock_wrlock(&h->lock);
        for (size_t end = s.n - i < STEP ? s.n : i + STEP; i < end; i++)
            lose(h, e, s.numbers[i], dirty);
        pthread_rwlock_unlock(&h->lock);
    }
    free(s.numbers);
}

/* --- from the disk, and to it --- */

bool holdings_load_number(struct holdings *h, uint32_t number, const uint8_t digest[NUMBERED_DIGEST]) {
    return digest_numbers_count(h->known.numbers) < h->blobs_max &&
           digest_numbers_put(h->known.numbers, digest, number);
}

/* 200 million in a large fleet, each at a place of its own in memory: asking for these ahead takes a quarter of the time
 * of waiting for each, and the library is called once for each part. */
void holdings_load_part(struct holdings *h, struct holder *e, uint32_t part, const uint16_t *within, size_t n) {
    uint32_t numbers[HOLDINGS_PART];
    const uint8_t *digests[HOLDINGS_PART];
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t number = (part << HOLDINGS_PART_BITS) + within[i];
        const uint8_t *digest = digest_numbers_get(h->known.numbers, number);
        if (!digest) continue;
        __builtin_prefetch(digest + NUMBERED_DIGEST - SET_DIGEST_BYTES);
        digests[known] = digest;
        numbers[known++] = number;
    }
    for (size_t i = 0; i < known; i++) {
        const struct set_digest element = holding_element(digests[i]);
        count_holder(&h->known, numbers[i]);
        set_digest_add(&e->sum, &element);
    }
    roaring_bitmap_add_many(e->numbers, known, numbers);
    e->count += (int64_t)known;
}

void holdings_loaded(struct holdings *h, struct holdings_dirty *dirty) {
    for (uint32_t number = 0, end = digest_numbers_end(h->known.numbers); number < end; number++) {
        if (!digest_numbers_get(h->known.numbers, number) ||
            (number < h->known.holders_cap && h->known.holders[number]))
            continue;
        digest_numbers_remove(h->known.numbers, number);
        note_number(dirty, number);
    }
}

size_t holdings_part(struct holdings *h, const struct holder *e, uint32_t part, uint16_t within[HOLDINGS_PART]) {
    (void)h;
    const uint32_t first = part << HOLDINGS_PART_BITS;
    roaring_uint32_iterator_t it;
    size_t n = 0;
    roaring_init_iterator(e->numbers, &it);
    for (bool more = roaring_move_uint32_iterator_equalorlarger(&it, first);
         more && it.current_value - first < HOLDINGS_PART; more = roaring_advance_uint32_iterator(&it))
        within[n++] = (uint16_t)(it.current_value - first);
    return n;
}

const uint8_t *holdings_digest_of(const struct holdings *h, uint32_t number) {
    return digest_numbers_get(h->known.numbers, number);
}

/* --- comparing --- */

struct set_digest holdings_sum(struct holdings *h, const struct holder *e) {
    pthread_rwlock_rdlock(&h->lock);
    struct set_digest sum = e->sum;
    pthread_rwlock_unlock(&h->lock);
    return sum;
}

struct tiling {
    const struct holdings *h;
    uint64_t *lows;
};

static bool add_to_tile(uint32_t number, void *arg) {
    const struct tiling *t = arg;
    const uint8_t *digest = digest_numbers_get(t->h->known.numbers, number);
    t->lows[holding_tile(digest)] += holding_element(digest).low;
    return true;
}

void holdings_tiles(struct holdings *h, const struct holder *e, uint64_t out[WIRE_HELD_TILES]) {
    struct tiling t = {h, out};
    memset(out, 0, WIRE_HELD_TILES * sizeof(*out));
    roaring_iterate(e->numbers, add_to_tile, &t);
}

/* --- asking --- */

static uint32_t number_of(const struct holdings *h, const struct digest *d) {
    return d->alg == DIGEST_SHA256 ? digest_numbers_find(h->known.numbers, d->bytes) : NO_NUMBER;
}

size_t holdings_at_sites(struct holdings *h, const struct digest *d, const char *const *sites, size_t n_sites,
                         const struct holder **out, size_t max) {
    size_t n = 0;
    pthread_rwlock_rdlock(&h->lock);
    uint32_t number = number_of(h, d);
    for (size_t i = 0; i < n_sites && number != NO_NUMBER; i++) {
        const struct site *s = map_get_s(h->known.sites, sites[i]);
        for (size_t j = 0; s && j < s->n && n < max; j++)
            if (roaring_bitmap_contains(s->edges[j]->numbers, number)) out[n++] = s->edges[j];
    }
    pthread_rwlock_unlock(&h->lock);
    return n;
}

struct asking {
    const uint32_t *numbers;
    size_t n;
    bool *has;
    void (*fn)(const struct holder *e, const bool *has, void *arg);
    void *arg;
};

static bool ask_edge(const void *key, size_t key_len, void *value, void *arg) {
    (void)key, (void)key_len;
    const struct asking *a = arg;
    const struct holder *e = value;
    bool any = false;
    for (size_t i = 0; i < a->n; i++) {
        a->has[i] = a->numbers[i] != NO_NUMBER && roaring_bitmap_contains(e->numbers, a->numbers[i]);
        any = any || a->has[i];
    }
    if (any) a->fn(e, a->has, a->arg);
    return true;
}

int holdings_each(struct holdings *h, const struct digest *blobs, size_t n,
                  void (*fn)(const struct holder *e, const bool *has, void *arg), void *arg) {
    uint32_t *numbers = xcalloc(n + 1, sizeof(*numbers));
    struct asking a = {numbers, n, xcalloc(n + 1, sizeof(bool)), fn, arg};
    pthread_rwlock_rdlock(&h->lock);
    int state = h->state;
    for (size_t i = 0; i < n && state == 0; i++)
        numbers[i] = number_of(h, &blobs[i]);
    if (state == 0) map_each(h->known.edges, ask_edge, &a);
    pthread_rwlock_unlock(&h->lock);
    free(numbers);
    free(a.has);
    return state;
}

int64_t holdings_count(struct holdings *h, const struct holder *e) {
    pthread_rwlock_rdlock(&h->lock);
    int64_t count = e->count;
    pthread_rwlock_unlock(&h->lock);
    return count;
}

static bool add_bytes(const void *key, size_t key_len, void *value, void *arg) {
    (void)key, (void)key_len;
    const struct holder *e = value;
    *(int64_t *)arg += (int64_t)(sizeof(*e) + roaring_bitmap_size_in_bytes(e->numbers));
    return true;
}

void holdings_stats(struct holdings *h, struct holdings_stats *out) {
    *out = (struct holdings_stats){0};
    pthread_rwlock_rdlock(&h->lock);
    map_each(h->known.edges, add_bytes, &out->bytes);
    out->blobs = (int64_t)digest_numbers_count(h->known.numbers);
    out->bytes += digest_numbers_end(h->known.numbers) * 44LL; /* a digest, slots twice as many at most, a count */
    pthread_rwlock_unlock(&h->lock);
}
