/* The digest table: entries in chunks that never move, found through 256 shards of chained buckets, each under a
 * sequence lock whose fields are all atomics. Thread: see table.h.
 *
 * Memory order: a writer makes the sequence odd, stores fields with release, makes it even with release. A reader loads
 * the sequence and every field with acquire. A reader that got any field of a newer write therefore sees a newer
 * sequence afterwards, and reads again. Entries and chunks are never given back and old bucket arrays are kept until
 * the end (together less than the newest), so whatever a late reader follows is still memory of ours. */
#include "common/store/table.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "common/core/map.h"

#define SHARDS 256u
#define CHUNK_BITS 12u
#define CHUNK (1u << CHUNK_BITS)
#define CHUNKS_MAX 32768u /* 134 million entries */
#define READ_TRIES 200    /* then the reader takes the lock: the writer may have lost its processor */

#define LIVE (1ULL << 57)
#define MORE (1ULL << 56)

struct entry {
    _Atomic uint64_t size_media;   /* 48 bits size, 16 media type */
    _Atomic uint64_t scopes_flags; /* 24 + 24 bits scopes, 8 flags, MORE, LIVE */
    _Atomic uint32_t next;         /* in the bucket's chain, or the free list */
    _Atomic uint32_t used_at;      /* wall seconds */
    _Atomic uint8_t freq, dirty;
    _Atomic uint64_t digest[]; /* 4 or 8 words */
};
_Static_assert(sizeof(struct entry) + 32 == 64, "a sha256 entry is one cache line");

struct chunk {
    unsigned words;
    _Alignas(64) char entries[];
};

struct buckets {
    struct buckets *retired;
    uint32_t mask;
    _Atomic uint32_t head[];
};

struct shard {
    _Alignas(64) _Atomic uint32_t seq;
    _Atomic(struct buckets *) buckets;
    uint32_t count;
    pthread_mutex_t lock; /* one writer at a time; held for a chain's walk, or a growth of this shard */
};

struct table {
    struct shard shards[SHARDS];
    uint64_t key[2];
    pthread_mutex_t slab_lock; /* guards free lists and the making of chunks */
    uint32_t free_head[2];     /* for 4 and 8 words */
    _Atomic uint32_t n_chunks;
    _Atomic(struct chunk *) chunks[CHUNKS_MAX];
    pthread_rwlock_t more_lock; /* guards more: the rare blobs in three scopes and more */
    struct map *more;           /* digest to struct scope_list */
};

struct scope_list {
    size_t n;
    uint32_t v[]; /* sorted */
};

#define get(field) atomic_load_explicit(&(field), memory_order_acquire)
#define set(field, v) atomic_store_explicit(&(field), (v), memory_order_release)

static struct buckets *buckets_new(uint32_t n) {
    struct buckets *b = calloc(1, sizeof(*b) + n * sizeof(b->head[0]));
    if (!b) abort();
    b->mask = n - 1;
    return b;
}

struct table *table_new(void) {
    struct table *t = aligned_alloc(64, (sizeof(*t) + 63) & ~(size_t)63);
    if (!t) abort();
    memset(t, 0, offsetof(struct table, chunks));
    for (unsigned i = 0; i < CHUNKS_MAX; i++)
        atomic_init(&t->chunks[i], NULL);
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&t->shards[i].lock, NULL);
        atomic_init(&t->shards[i].buckets, buckets_new(4));
    }
    if (getrandom(t->key, sizeof(t->key), 0) != (ssize_t)sizeof(t->key)) abort();
    t->key[0] |= 1;
    pthread_mutex_init(&t->slab_lock, NULL);
    pthread_rwlock_init(&t->more_lock, NULL);
    t->more = map_new(free);
    return t;
}

void table_free(struct table *t) {
    if (!t) return;
    for (unsigned i = 0; i < SHARDS; i++) {
        for (struct buckets *b = get(t->shards[i].buckets), *old; b; b = old) {
            old = b->retired;
            free(b);
        }
        pthread_mutex_destroy(&t->shards[i].lock);
    }
    for (uint32_t i = 0; i < get(t->n_chunks); i++)
        free(get(t->chunks[i]));
    map_free(t->more);
    pthread_rwlock_destroy(&t->more_lock);
    pthread_mutex_destroy(&t->slab_lock);
    free(t);
}

static size_t stride(unsigned words) {
    return sizeof(struct entry) + words * 8;
}

static unsigned words_of(const struct digest *d) {
    return (unsigned)digest_len(d->alg) / 8;
}

static struct entry *entry_at(const struct table *t, uint32_t id, unsigned *words) {
    if (id >> CHUNK_BITS >= CHUNKS_MAX) return NULL;
    struct chunk *c = get(t->chunks[id >> CHUNK_BITS]);
    if (!c) return NULL;
    *words = c->words;
    return (struct entry *)(void *)(c->entries + (id & (CHUNK - 1)) * stride(c->words));
}

/* Keyed, since whoever publishes content may choose its digest's first bits. */
uint64_t table_hash(const struct table *t, const struct digest *d) {
    uint64_t w[2];
    memcpy(w, d->bytes, sizeof(w));
    __extension__ typedef unsigned __int128 u128;
    u128 m = (u128)(w[0] ^ t->key[1]) * (w[1] ^ t->key[0]);
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static struct shard *shard_of(const struct table *t, uint64_t hash) {
    return (struct shard *)&t->shards[hash >> 56];
}

/* --- reading --- */

static bool same_digest(const struct entry *e, const uint64_t *key, unsigned words) {
    for (unsigned i = 0; i < words; i++) {
        if (get(e->digest[i]) != key[i]) return false;
    }
    return true;
}

static void read_value(const struct entry *e, struct table_value *v) {
    uint64_t sm = get(e->size_media), sf = get(e->scopes_flags);
    v->size = (int64_t)(sm & TABLE_SIZE_MAX);
    v->media = (uint16_t)(sm >> 48);
    v->scopes[0] = sf & 0xffffff;
    v->scopes[1] = (sf >> 24) & 0xffffff;
    v->flags = (sf >> 48) & 0xff;
    v->more = sf & MORE;
}

/* Walks the chain; gives up (as not found) when the sequence has moved, since a changing chain may have no end. */
static uint32_t walk(const struct table *t, const struct shard *sh, uint64_t hash, const uint64_t *key, unsigned words,
                     uint32_t seq) {
    const struct buckets *b = get(sh->buckets);
    uint32_t id = get(b->head[hash & b->mask]);
    for (unsigned step = 1; id; step++) {
        unsigned w = 0;
        const struct entry *e = entry_at(t, id, &w);
        if (!e) return 0;
        if (w == words && same_digest(e, key, words)) return id;
        if (step % 64 == 0 && get(sh->seq) != seq) return 0;
        id = get(e->next);
    }
    return 0;
}

static uint32_t find_once(const struct table *t, const struct shard *sh, uint64_t hash, const uint64_t *key,
                          unsigned words, uint32_t seq, struct table_value *v) {
    uint32_t id = walk(t, sh, hash, key, words, seq);
    if (id && v) read_value(entry_at(t, id, &words), v);
    return id;
}

uint32_t table_find(const struct table *t, const struct digest *d, struct table_value *v) {
    uint64_t key[DIGEST_MAX_BYTES / 8];
    memcpy(key, d->bytes, sizeof(key));
    unsigned words = words_of(d);
    if (words == 0) return 0;
    uint64_t hash = table_hash(t, d);
    struct shard *sh = shard_of(t, hash);
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t seq = get(sh->seq);
        if (seq & 1) continue;
        uint32_t id = find_once(t, sh, hash, key, words, seq, v);
        if (get(sh->seq) == seq) return id;
    }
    pthread_mutex_lock(&sh->lock);
    uint32_t id = find_once(t, sh, hash, key, words, get(sh->seq), v);
    pthread_mutex_unlock(&sh->lock);
    return id;
}

bool table_get(const struct table *t, uint32_t id, struct digest *d, struct table_value *v) {
    unsigned words = 0;
    const struct entry *e = entry_at(t, id, &words);
    if (!e || !(get(e->scopes_flags) & LIVE)) return false;
    memset(d, 0, sizeof(*d));
    d->alg = words == 4 ? DIGEST_SHA256 : DIGEST_SHA512;
    for (unsigned i = 0; i < words; i++) {
        uint64_t w = get(e->digest[i]);
        memcpy(d->bytes + 8 * i, &w, 8);
    }
    /* Read without the sequence, the digest may be a mixture; then it is not found under this number. */
    return table_find(t, d, v) == id;
}

uint32_t table_end(const struct table *t) {
    return get(t->n_chunks) << CHUNK_BITS;
}

/* --- writing --- */

static void shard_lock(struct shard *sh) {
    pthread_mutex_lock(&sh->lock);
    atomic_store_explicit(&sh->seq, atomic_load_explicit(&sh->seq, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void shard_unlock(struct shard *sh) {
    set(sh->seq, atomic_load_explicit(&sh->seq, memory_order_relaxed) + 1);
    pthread_mutex_unlock(&sh->lock);
}

/* Under the slab lock: a new chunk, all of its entries on the free list, low numbers first. */
static void chunk_add(struct table *t, unsigned words) {
    uint32_t n = get(t->n_chunks);
    if (n == CHUNKS_MAX) abort(); /* 134 million blobs: far beyond what the index is meant for */
    size_t size = (sizeof(struct chunk) + CHUNK * stride(words) + 63) & ~(size_t)63;
    struct chunk *c = aligned_alloc(64, size);
    if (!c) abort();
    memset(c, 0, size);
    c->words = words;
    set(t->chunks[n], c);
    set(t->n_chunks, n + 1);
    uint32_t *head = &t->free_head[words == 8];
    for (uint32_t i = CHUNK; i-- > (n == 0 ? 1u : 0u);) {
        unsigned w = 0;
        uint32_t id = n << CHUNK_BITS | i;
        set(entry_at(t, id, &w)->next, *head);
        *head = id;
    }
}

static uint32_t slab_take(struct table *t, unsigned words) {
    pthread_mutex_lock(&t->slab_lock);
    uint32_t *head = &t->free_head[words == 8];
    if (*head == 0) chunk_add(t, words);
    uint32_t id = *head;
    unsigned w = 0;
    *head = get(entry_at(t, id, &w)->next);
    pthread_mutex_unlock(&t->slab_lock);
    return id;
}

void table_release(struct table *t, uint32_t id) {
    unsigned words = 0;
    struct entry *e = entry_at(t, id, &words);
    assert(e && !(get(e->scopes_flags) & LIVE));
    pthread_mutex_lock(&t->slab_lock);
    uint32_t *head = &t->free_head[words == 8];
    set(e->next, *head);
    *head = id;
    pthread_mutex_unlock(&t->slab_lock);
}

static struct digest digest_of_entry(const struct entry *e, unsigned words) {
    struct digest d = {.alg = words == 4 ? DIGEST_SHA256 : DIGEST_SHA512};
    for (unsigned i = 0; i < words; i++) {
        uint64_t w = get(e->digest[i]);
        memcpy(d.bytes + 8 * i, &w, 8);
    }
    return d;
}

/* Under the shard's lock, its sequence odd. */
static void shard_resize(struct table *t, struct shard *sh, uint32_t n) {
    struct buckets *old = get(sh->buckets), *b = buckets_new(n);
    for (uint32_t i = 0; i <= old->mask; i++) {
        for (uint32_t id = get(old->head[i]), next; id; id = next) {
            unsigned words = 0;
            struct entry *e = entry_at(t, id, &words);
            struct digest d = digest_of_entry(e, words);
            _Atomic uint32_t *head = &b->head[table_hash(t, &d) & b->mask];
            next = get(e->next);
            set(e->next, get(*head));
            set(*head, id);
        }
    }
    b->retired = old;
    set(sh->buckets, b);
}

void table_reserve(struct table *t, size_t n) {
    uint32_t want = 4;
    while (want < CHUNK * 64 && want < n / SHARDS)
        want *= 2;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &t->shards[i];
        shard_lock(sh);
        if (want > get(sh->buckets)->mask + 1) shard_resize(t, sh, want);
        shard_unlock(sh);
    }
}

static void write_value(struct entry *e, const struct table_value *v) {
    set(e->size_media, ((uint64_t)v->size & TABLE_SIZE_MAX) | (uint64_t)v->media << 48);
    set(e->scopes_flags, (uint64_t)(v->scopes[0] & 0xffffff) | (uint64_t)(v->scopes[1] & 0xffffff) << 24 |
                             (uint64_t)(v->flags & 0xff) << 48 | (v->more ? MORE : 0) | LIVE);
}

uint32_t table_put(struct table *t, const struct digest *d, const struct table_value *v, uint32_t used_at,
                   bool *existed) {
    uint64_t key[DIGEST_MAX_BYTES / 8];
    memcpy(key, d->bytes, sizeof(key));
    unsigned words = words_of(d);
    assert(words && v->size >= 0 && v->size <= TABLE_SIZE_MAX);
    uint64_t hash = table_hash(t, d);
    struct shard *sh = shard_of(t, hash);
    uint32_t id = table_find(t, d, NULL);
    *existed = id != 0;
    if (!id) id = slab_take(t, words);
    struct entry *e = entry_at(t, id, &words);
    shard_lock(sh);
    write_value(e, v);
    if (!*existed) {
        for (unsigned i = 0; i < words; i++)
            set(e->digest[i], key[i]);
        set(e->used_at, used_at);
        set(e->freq, 0);
        set(e->dirty, 0);
        if (++sh->count > get(sh->buckets)->mask + 1) shard_resize(t, sh, 2 * (get(sh->buckets)->mask + 1));
        struct buckets *b = get(sh->buckets);
        _Atomic uint32_t *head = &b->head[hash & b->mask];
        set(e->next, get(*head));
        set(*head, id);
    }
    shard_unlock(sh);
    return id;
}

uint32_t table_remove(struct table *t, const struct digest *d) {
    uint32_t id = table_find(t, d, NULL);
    if (!id) return 0;
    uint64_t hash = table_hash(t, d);
    struct shard *sh = shard_of(t, hash);
    unsigned words = 0;
    struct entry *e = entry_at(t, id, &words);
    shard_lock(sh);
    struct buckets *b = get(sh->buckets);
    _Atomic uint32_t *link = &b->head[hash & b->mask];
    while (get(*link) != id) {
        unsigned w = 0;
        link = &entry_at(t, get(*link), &w)->next;
    }
    set(*link, get(e->next));
    bool more = get(e->scopes_flags) & MORE;
    set(e->scopes_flags, 0);
    sh->count--;
    shard_unlock(sh);
    if (more) {
        pthread_rwlock_wrlock(&t->more_lock);
        map_del(t->more, d, sizeof(*d));
        pthread_rwlock_unlock(&t->more_lock);
    }
    return id;
}

/* --- scopes --- */

static size_t lower_bound(const struct scope_list *l, uint32_t scope) {
    size_t lo = 0, hi = l ? l->n : 0;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (l->v[mid] < scope)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool table_scope_has(const struct table *t, const struct digest *d, const struct table_value *v, uint32_t scope) {
    if (scope == 0) return false;
    if (v->scopes[0] == scope || v->scopes[1] == scope) return true;
    if (!v->more) return false;
    pthread_rwlock_rdlock((pthread_rwlock_t *)&t->more_lock);
    const struct scope_list *l = map_get(t->more, d, sizeof(*d));
    size_t at = lower_bound(l, scope);
    bool has = l && at < l->n && l->v[at] == scope;
    pthread_rwlock_unlock((pthread_rwlock_t *)&t->more_lock);
    return has;
}

bool table_scope_add(struct table *t, const struct digest *d, struct table_value *v, uint32_t scope) {
    if (scope == 0 || table_scope_has(t, d, v, scope)) return false;
    for (unsigned i = 0; i < TABLE_SCOPES; i++) {
        if (v->scopes[i] == 0) {
            v->scopes[i] = scope;
            return true;
        }
    }
    pthread_rwlock_wrlock(&t->more_lock);
    struct scope_list *l = map_take(t->more, d, sizeof(*d));
    size_t n = l ? l->n : 0, at = lower_bound(l, scope);
    bool found = at < n && l->v[at] == scope;
    if (!found) {
        l = realloc(l, sizeof(*l) + (n + 1) * sizeof(l->v[0]));
        if (!l) abort();
        memmove(l->v + at + 1, l->v + at, (n - at) * sizeof(l->v[0]));
        l->v[at] = scope;
        l->n = n + 1;
    }
    map_set(t->more, d, sizeof(*d), l);
    pthread_rwlock_unlock(&t->more_lock);
    v->more = true;
    return !found;
}

/* --- use --- */

static struct entry *entry_of(const struct table *t, uint32_t id) {
    unsigned w = 0;
    struct entry *e = entry_at(t, id, &w);
    assert(e);
    return e;
}

void table_touch(struct table *t, uint32_t id, uint32_t now) {
    struct entry *e = entry_of(t, id);
    uint8_t freq = atomic_load_explicit(&e->freq, memory_order_relaxed);
    /* A lost increment between two readers is no loss. Writing only what changes keeps a hot entry's line shared. */
    if (freq < TABLE_FREQ_MAX) atomic_store_explicit(&e->freq, (uint8_t)(freq + 1), memory_order_relaxed);
    if (atomic_load_explicit(&e->used_at, memory_order_relaxed) == now) return;
    atomic_store_explicit(&e->used_at, now, memory_order_relaxed);
    atomic_store_explicit(&e->dirty, 1, memory_order_relaxed);
}

unsigned table_freq(const struct table *t, uint32_t id) {
    return atomic_load_explicit(&entry_of(t, id)->freq, memory_order_relaxed);
}

void table_set_freq(struct table *t, uint32_t id, unsigned freq) {
    atomic_store_explicit(&entry_of(t, id)->freq, (uint8_t)freq, memory_order_relaxed);
}

int64_t table_size(const struct table *t, uint32_t id) {
    return (int64_t)(get(entry_of(t, id)->size_media) & TABLE_SIZE_MAX);
}

uint32_t table_used_at(const struct table *t, uint32_t id) {
    return atomic_load_explicit(&entry_of(t, id)->used_at, memory_order_relaxed);
}

bool table_take_dirty(struct table *t, uint32_t id) {
    struct entry *e = entry_of(t, id);
    return atomic_load_explicit(&e->dirty, memory_order_relaxed) &&
           atomic_exchange_explicit(&e->dirty, 0, memory_order_relaxed);
}
