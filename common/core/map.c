/* Chained hash table with SipHash-2-4 under a key made at process start. Thread: owned by its user. */
#include "common/core/map.h"

#include "common/core/alloc.h"
#include "common/core/siphash.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

struct entry {
    struct entry *next;
    uint64_t hash;
    void *value;
    size_t key_len;
    unsigned char key[];
};

struct map {
    struct entry **buckets;
    size_t n_buckets; /* a power of two */
    size_t len;
    void (*free_value)(void *);
};

static uint64_t hash_key[2];

static void make_hash_key(void) {
    if (getrandom(hash_key, sizeof(hash_key), 0) != (ssize_t)sizeof(hash_key)) abort();
}

uint64_t map_hash(const void *key, size_t key_len) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_hash_key);
    return siphash(hash_key, key, key_len);
}

struct map *map_new(void (*free_value)(void *)) {
    struct map *m = xcalloc(1, sizeof(*m));
    m->n_buckets = 16;
    m->buckets = xcalloc(m->n_buckets, sizeof(*m->buckets));
    m->free_value = free_value;
    return m;
}

static void release(struct map *m, void *value) {
    if (m->free_value && value) m->free_value(value);
}

void map_free(struct map *m) {
    if (!m) return;
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct entry *e = m->buckets[i], *next; e; e = next) {
            next = e->next;
            release(m, e->value);
            free(e);
        }
    }
    free(m->buckets);
    free(m);
}

size_t map_len(const struct map *m) {
    return m->len;
}

/* The link that points to the entry, or to the NULL at its chain's end. */
static struct entry **find(const struct map *m, const void *key, size_t key_len, uint64_t hash) {
    struct entry **link = &m->buckets[hash & (m->n_buckets - 1)];
    while (*link) {
        struct entry *e = *link;
        if (e->hash == hash && e->key_len == key_len && memcmp(e->key, key, key_len) == 0) break;
        link = &e->next;
    }
    return link;
}

static void grow(struct map *m) {
    size_t n = m->n_buckets * 2;
    struct entry **buckets = xcalloc(n, sizeof(*buckets));
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct entry *e = m->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
}

void map_set(struct map *m, const void *key, size_t key_len, void *value) {
    uint64_t hash = map_hash(key, key_len);
    struct entry **link = find(m, key, key_len, hash);
    if (*link) {
        if ((*link)->value != value) release(m, (*link)->value);
        (*link)->value = value;
        return;
    }
    struct entry *e = xmalloc(sizeof(*e) + key_len);
    *e = (struct entry){.hash = hash, .value = value, .key_len = key_len};
    memcpy(e->key, key, key_len);
    *link = e;
    m->len++;
    if (m->len > m->n_buckets) grow(m);
}

void *map_get(const struct map *m, const void *key, size_t key_len) {
    struct entry *e = *find(m, key, key_len, map_hash(key, key_len));
    return e ? e->value : NULL;
}

void *map_take(struct map *m, const void *key, size_t key_len) {
    struct entry **link = find(m, key, key_len, map_hash(key, key_len));
    struct entry *e = *link;
    if (!e) return NULL;
    void *value = e->value;
    *link = e->next;
    free(e);
    m->len--;
    return value;
}

bool map_del(struct map *m, const void *key, size_t key_len) {
    size_t before = m->len;
    release(m, map_take(m, key, key_len));
    return m->len < before;
}

void map_each(const struct map *m, bool (*fn)(const void *, size_t, void *, void *), void *arg) {
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct entry *e = m->buckets[i]; e; e = e->next) {
            if (!fn(e->key, e->key_len, e->value, arg)) return;
        }
    }
}
