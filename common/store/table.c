/* The digest table: entries in chunks that never move, found through 256 shards of open-addressed slots, each under a
 * sequence lock whose fields are all atomics. Thread: see table.h.
 *
 * A slot is an entry's number and 5 bits of its hash, so that a look-up touches one line of slots and one entry: with a
 * million entries these two cache misses are what it costs.
 *
 * Memory order: a writer makes the sequence odd, stores fields with release, makes it even with release. A reader loads
 * the sequence and every field with acquire. A reader that got any field of a newer write therefore sees a newer
 * sequence afterwards, and reads again. Entries and chunks are never given back and old slot arrays are kept until the
 * end (together less than the newest), so whatever a late reader follows is still memory of ours. */
#include "common/store/table.h"

#include "common/core/alloc.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "common/core/map.h"

#define SHARDS 256u
#define CHUNK_BITS 15u /* 2 MiB of sha256 entries: a huge page */
#define CHUNK (1u << CHUNK_BITS)
#define CHUNKS_MAX 4096u /* 134 million entries */
#define ID_BITS 27u
#define READ_TRIES 200 /* then the reader takes the lock: the writer may have lost its processor */

#define LIVE (1ULL << 57)
#define MORE (1ULL << 56)

struct entry {
    _Atomic uint64_t size_media;   /* 48 bits size, 16 media type */
    _Atomic uint64_t scopes_flags; /* 24 + 24 bits scopes, 8 flags, MORE, LIVE */
    _Atomic uint32_t next_free;    /* of a free entry: the next one */
    _Atomic uint32_t used_at;      /* wall seconds */
    _Atomic uint8_t freq, dirty;
    _Atomic uint64_t digest[]; /* 4 or 8 words */
};
_Static_assert(sizeof(struct entry) + 32 == 64, "a sha256 entry is one cache line");

_Static_assert((CHUNKS_MAX << CHUNK_BITS) == 1u << ID_BITS, "a slot can hold any number");

struct chunk {
    unsigned words;
    uint32_t first; /* number of its first entry */
    uint32_t used;  /* entries handed out so far; under the slab's lock */
    char *entries;
};

struct slots {
    struct slots *retired;
    uint32_t mask;
    _Atomic uint32_t v[]; /* 0: empty; else tag and number */
};

struct shard {
    _Alignas(64) _Atomic uint32_t seq;
    _Atomic(struct slots *) slots;
    uint32_t count;
    pthread_mutex_t lock; /* one writer at a time; held for a look-up, or a growth of this shard */
};

struct table {
    struct shard shards[SHARDS];
    uint64_t key[2];
    pthread_mutex_t slab_lock; /* guards free lists and the making of chunks */
    uint32_t free_head[2];     /* for 4 and 8 words */
    struct chunk *fresh[2];    /* the chunk that numbers come from when nothing is free */
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

static size_t stride(unsigned words) {
    return sizeof(struct entry) + words * 8;
}

static struct slots *slots_new(uint32_t n) {
    struct slots *p = xcalloc(1, sizeof(*p) + n * sizeof(p->v[0]));
    p->mask = n - 1;
    return p;
}

struct table *table_new(void) {
    struct table *t = aligned_alloc(64, (sizeof(*t) + 63) & ~(size_t)63);
    if (!t) out_of_memory();
    memset(t, 0, offsetof(struct table, chunks));
    for (unsigned i = 0; i < CHUNKS_MAX; i++)
        atomic_init(&t->chunks[i], NULL);
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&t->shards[i].lock, NULL);
        atomic_init(&t->shards[i].slots, slots_new(8));
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
        for (struct slots *p = get(t->shards[i].slots), *old; p; p = old) {
            old = p->retired;
            free(p);
        }
        pthread_mutex_destroy(&t->shards[i].lock);
    }
    for (uint32_t i = 0; i < get(t->n_chunks); i++) {
        struct chunk *c = get(t->chunks[i]);
        munmap(c->entries, CHUNK * stride(c->words));
        free(c);
    }
    map_free(t->more);
    pthread_rwlock_destroy(&t->more_lock);
    pthread_mutex_destroy(&t->slab_lock);
    free(t);
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

static uint32_t tag_of(uint64_t hash) {
    return (uint32_t)(hash >> 32) << ID_BITS;
}

static uint32_t id_of(uint32_t slot) {
    return slot & ((1u << ID_BITS) - 1);
}

/* Ends at an empty slot; while a writer moves slots it may miss one or meet them all, and is asked again. */
static uint32_t walk(const struct table *t, const struct shard *sh, uint64_t hash, const uint64_t *key,
                     unsigned words) {
    const struct slots *p = get(sh->slots);
    for (uint32_t i = 0; i <= p->mask; i++) {
        uint32_t slot = get(p->v[(hash + i) & p->mask]);
        if (slot == 0) break;
        if ((slot ^ tag_of(hash)) >> ID_BITS) continue;
        unsigned w = 0;
        const struct entry *e = entry_at(t, id_of(slot), &w);
        if (e && w == words && same_digest(e, key, words)) return id_of(slot);
    }
    return 0;
}

static uint32_t find_once(const struct table *t, const struct shard *sh, uint64_t hash, const uint64_t *key,
                          unsigned words, struct table_value *v) {
    uint32_t id = walk(t, sh, hash, key, words);
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
        uint32_t id = find_once(t, sh, hash, key, words, v);
        if (get(sh->seq) == seq) return id;
    }
    pthread_mutex_lock(&sh->lock);
    uint32_t id = find_once(t, sh, hash, key, words, v);
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

/* Under the slab lock. */
static struct chunk *chunk_add(struct table *t, unsigned words) {
    uint32_t n = get(t->n_chunks);
    if (n == CHUNKS_MAX) abort(); /* 134 million blobs: far more than the index is made for */
    struct chunk *c = calloc(1, sizeof(*c));
    size_t size = CHUNK * stride(words);
    /* Aligned by taking more and giving the rest back, so that large stores get huge pages; the first chunk, which a
     * small store only begins to fill, does without. */
    size_t align = 2 * MiB;
    char *p = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!c || p == MAP_FAILED) out_of_memory();
    size_t lead = (align - (uintptr_t)p % align) % align;
    if (lead) munmap(p, lead);
    if (align - lead) munmap(p + lead + size, align - lead);
    if (n > 0) madvise(p + lead, size, MADV_HUGEPAGE);
    *c = (struct chunk){
        .words = words, .first = n << CHUNK_BITS, .used = n == 0, .entries = p + lead}; /* number 0 is not used */
    set(t->chunks[n], c);
    set(t->n_chunks, n + 1);
    return c;
}

static uint32_t slab_take(struct table *t, unsigned words) {
    pthread_mutex_lock(&t->slab_lock);
    uint32_t *head = &t->free_head[words == 8], id = *head;
    struct chunk **fresh = &t->fresh[words == 8];
    if (id) {
        unsigned w = 0;
        *head = get(entry_at(t, id, &w)->next_free);
    } else {
        if (!*fresh || (*fresh)->used == CHUNK) *fresh = chunk_add(t, words);
        id = (*fresh)->first + (*fresh)->used++;
    }
    pthread_mutex_unlock(&t->slab_lock);
    return id;
}

void table_release(struct table *t, uint32_t id) {
    unsigned words = 0;
    struct entry *e = entry_at(t, id, &words);
    assert(e && !(get(e->scopes_flags) & LIVE));
    pthread_mutex_lock(&t->slab_lock);
    uint32_t *head = &t->free_head[words == 8];
    set(e->next_free, *head);
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

/* Where the entry's search begins. */
static uint64_t hash_of_entry(const struct table *t, uint32_t id) {
    unsigned words = 0;
    const struct entry *e = entry_at(t, id, &words);
    struct digest d = digest_of_entry(e, words);
    return table_hash(t, &d);
}

static void slot_put(struct slots *p, uint64_t hash, uint32_t id) {
    uint32_t i = (uint32_t)hash & p->mask;
    while (get(p->v[i]))
        i = (i + 1) & p->mask;
    set(p->v[i], tag_of(hash) | id);
}

/* Those after it move up if that brings them nearer to where their search begins, so no gap is left (Knuth, 6.4,
 * algorithm R). */
static void slot_take(const struct table *t, struct slots *p, uint64_t hash, uint32_t id) {
    uint32_t i = (uint32_t)hash & p->mask;
    while (id_of(get(p->v[i])) != id)
        i = (i + 1) & p->mask;
    for (uint32_t j = i;;) {
        j = (j + 1) & p->mask;
        uint32_t slot = get(p->v[j]);
        if (slot == 0) break;
        uint32_t home = (uint32_t)hash_of_entry(t, id_of(slot)) & p->mask;
        if (((j - home) & p->mask) < ((j - i) & p->mask)) continue;
        set(p->v[i], slot);
        i = j;
    }
    set(p->v[i], 0);
}

/* Under the shard's lock, its sequence odd. */
static void shard_resize(struct table *t, struct shard *sh, uint32_t n) {
    struct slots *old = get(sh->slots), *p = slots_new(n);
    for (uint32_t i = 0; i <= old->mask; i++) {
        uint32_t id = id_of(get(old->v[i]));
        if (id) slot_put(p, hash_of_entry(t, id), id);
    }
    p->retired = old;
    set(sh->slots, p);
}

static bool too_full(const struct shard *sh, uint32_t count) {
    uint32_t n = get(sh->slots)->mask + 1;
    return count > n - n / 4;
}

void table_reserve(struct table *t, size_t n) {
    uint32_t want = 8;
    while (want < 1u << 24 && want - want / 4 < n / SHARDS + n / SHARDS / 16)
        want *= 2;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &t->shards[i];
        shard_lock(sh);
        if (want > get(sh->slots)->mask + 1) shard_resize(t, sh, want);
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
        if (too_full(sh, ++sh->count)) shard_resize(t, sh, 2 * (get(sh->slots)->mask + 1));
        slot_put(get(sh->slots), hash, id);
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
    slot_take(t, get(sh->slots), hash, id);
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
    bool full = n >= TABLE_SCOPES_MAX - TABLE_SCOPES;
    if (!found && !full) {
        l = xrealloc(l, sizeof(*l) + (n + 1) * sizeof(l->v[0]), 1);
        memmove(l->v + at + 1, l->v + at, (n - at) * sizeof(l->v[0]));
        l->v[at] = scope;
        l->n = n + 1;
    }
    map_set(t->more, d, sizeof(*d), l);
    pthread_rwlock_unlock(&t->more_lock);
    v->more = true;
    return !found && !full;
}

struct each_scope {
    void (*fn)(uint32_t scope, void *arg);
    void *arg;
};

static bool each_listed(const void *key, size_t len, void *value, void *arg) {
    const struct each_scope *e = arg;
    const struct scope_list *l = value;
    (void)key;
    (void)len;
    for (size_t i = 0; i < l->n; i++)
        e->fn(l->v[i], e->arg);
    return true;
}

void table_each_scope(const struct table *t, void (*fn)(uint32_t scope, void *arg), void *arg) {
    struct each_scope e = {fn, arg};
    for (uint32_t id = 1, end = table_end(t); id < end; id++) {
        struct digest d;
        struct table_value v;
        if (!table_get(t, id, &d, &v)) continue;
        for (unsigned i = 0; i < TABLE_SCOPES; i++) {
            if (v.scopes[i]) fn(v.scopes[i], arg);
        }
    }
    pthread_rwlock_rdlock((pthread_rwlock_t *)&t->more_lock);
    map_each(t->more, each_listed, &e);
    pthread_rwlock_unlock((pthread_rwlock_t *)&t->more_lock);
}

/* --- use --- */

static struct entry *entry_of(const struct table *t, uint32_t id) {
    unsigned w = 0;
    struct entry *e = entry_at(t, id, &w);
    assert(e);
    return e;
}

void table_touch(struct table *t, uint32_t id, uint32_t now, bool if_rested) {
    struct entry *e = entry_of(t, id);
    uint8_t freq = atomic_load_explicit(&e->freq, memory_order_relaxed);
    uint32_t last = atomic_load_explicit(&e->used_at, memory_order_relaxed);
    bool counts = freq < TABLE_FREQ_MAX;
    if (if_rested && now - last < TABLE_APART_S) return;
    /* A lost increment between two readers is no loss. Writing only what changes keeps a hot entry's line shared. */
    if (counts) atomic_store_explicit(&e->freq, (uint8_t)(freq + 1), memory_order_relaxed);
    if (last != now) atomic_store_explicit(&e->used_at, now, memory_order_relaxed);
    if (!counts && last == now) return;
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
