/* Blocks, and how they are searched and replaced. Thread: as the header says. */
#include "edge/replica/replica.h"

#include "common/core/alloc.h"
#include "edge/replica/readers.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Records of blobs have one length; the others have the end of each in front of them. */
struct block {
    struct set_digest digest;
    uint32_t n, len; /* records, and their bytes */
    uint32_t ends[]; /* n of them, unless they are blobs; then the bytes */
};

struct replica {
    int64_t limit;
    struct readers *readers;
    bool has_epoch;
    uint8_t epoch[EPOCH_BYTES];
    struct record_secret secret;
    struct set_digest digest; /* of all */
    _Atomic int64_t records[RECORD_KINDS], bytes;
    _Atomic(struct block *) tiles[TILES]; /* NULL: empty */
};

/* --- blocks --- */

static size_t ends_of(enum record_kind kind, size_t n) {
    return kind == RECORD_BLOB ? 0 : n;
}

static const uint8_t *bytes_of(enum record_kind kind, const struct block *b) {
    return (const uint8_t *)(b->ends + ends_of(kind, b->n));
}

static size_t start_of(enum record_kind kind, const struct block *b, size_t i) {
    if (kind == RECORD_BLOB) return i * RECORD_BLOB_BYTES;
    return i ? b->ends[i - 1] : 0;
}

static const uint8_t *record_at(enum record_kind kind, const struct block *b, size_t i, size_t *len) {
    size_t start = start_of(kind, b, i);
    *len = start_of(kind, b, i + 1) - start;
    return bytes_of(kind, b) + start;
}

static size_t block_size(enum record_kind kind, size_t n, size_t len) {
    return sizeof(struct block) + ends_of(kind, n) * sizeof(uint32_t) + len;
}

static struct block *block_new(enum record_kind kind, size_t n, size_t len) {
    struct block *b = xmalloc(block_size(kind, n, len));
    *b = (struct block){.n = (uint32_t)n, .len = (uint32_t)len};
    return b;
}

static int compare_at(enum record_kind kind, const struct block *b, size_t at, const uint8_t *key, size_t key_len) {
    size_t len;
    const uint8_t *record = record_at(kind, b, at, &len);
    return record_key_compare(record, record_key_len(kind, record, len), key, key_len);
}

/* Narrows the search to where a digest should be. Digests are spread evenly, so most are within a few records of
 * that. */
static void guess(enum record_kind kind, const struct block *b, const uint8_t *key, size_t key_len, size_t *low,
                  size_t *high) {
    enum { NEAR = 12 };
    if (b->n < 4 * NEAR || key_len < 5 || kind == RECORD_TAG) return;
    uint32_t bits = (uint32_t)key[1] << 24 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 8 | key[4];
    bits <<= kind == RECORD_BLOB ? 4 : 2; /* the rest is the number of the tile */
    size_t at = (size_t)(((uint64_t)bits * b->n) >> 32);
    size_t from = at > NEAR ? at - NEAR : 0, to = at + NEAR < b->n ? at + NEAR : b->n;
    if (from > 0 && compare_at(kind, b, from - 1, key, key_len) < 0)
        *low = from;
    else if (from > 0)
        *high = from;
    if (*high > to && to < b->n && compare_at(kind, b, to, key, key_len) >= 0)
        *high = to + 1;
    else if (*high > to && to < b->n)
        *low = to;
}

/* Where a key is, or would be. */
static size_t find(enum record_kind kind, const struct block *b, const uint8_t *key, size_t key_len, bool *found) {
    size_t low = 0, high = b ? b->n : 0;
    *found = false;
    if (b) guess(kind, b, key, key_len, &low, &high);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_at(kind, b, middle, key, key_len);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A copy with the record at `at` left out (gone) and another put there (len > 0). */
static struct block *changed(enum record_kind kind, const struct block *b, size_t at, bool gone, const uint8_t *record,
                             size_t len) {
    size_t n = b ? b->n : 0, bytes = b ? b->len : 0;
    size_t start = b ? start_of(kind, b, at) : 0, after = gone ? start_of(kind, b, at + 1) : start;
    size_t rest = gone ? at + 1 : at;
    struct block *c = block_new(kind, n - gone + (len > 0), bytes - (after - start) + len);
    uint8_t *out = (uint8_t *)(uintptr_t)bytes_of(kind, c);
    if (b) memcpy(out, bytes_of(kind, b), start);
    if (len) memcpy(out + start, record, len);
    if (b) memcpy(out + start + len, bytes_of(kind, b) + after, bytes - after);
    if (kind == RECORD_BLOB) return c;
    size_t i = at;
    if (b) memcpy(c->ends, b->ends, at * sizeof(*c->ends));
    if (len) c->ends[i++] = (uint32_t)(start + len);
    for (; rest < n; rest++)
        c->ends[i++] = (uint32_t)(b->ends[rest] - (after - start) + len);
    return c;
}

/* --- readers --- */

/* Finds a record, copies it to out (of cap bytes; the rest is left out) and returns its length; 0: there is none. */
static size_t get(const struct replica *r, enum record_kind kind, const uint8_t *key, size_t key_len, uint8_t *out,
                  size_t cap) {
    bool found;
    size_t len = 0;
    unsigned slot = readers_begin(r->readers);
    const struct block *b = atomic_load(&r->tiles[record_tile(kind, key, key_len)]);
    size_t at = find(kind, b, key, key_len, &found);
    if (found) {
        const uint8_t *record = record_at(kind, b, at, &len);
        memcpy(out, record, len < cap ? len : cap);
    }
    readers_end(r->readers, slot);
    return len;
}

bool replica_blob(const struct replica *r, const struct digest *d, int64_t *size) {
    uint8_t record[RECORD_BLOB_BYTES];
    if (d->alg != DIGEST_SHA256 || !get(r, RECORD_BLOB, d->bytes, RECORD_DIGEST, record, sizeof(record))) return false;
    *size = record_blob_size(record);
    return true;
}

bool replica_named(const uint8_t name[SHORT_BYTES], uint8_t digest[RECORD_DIGEST], int64_t *size, void *arg) {
    const struct replica *r = arg;
    unsigned slot = readers_begin(r->readers);
    const struct block *b = atomic_load(&r->tiles[record_tile(RECORD_BLOB, name, SHORT_BYTES)]);
    bool exact, found = false;
    size_t len, at = find(RECORD_BLOB, b, name, SHORT_BYTES, &exact); /* where digests that begin so would begin */
    const uint8_t *record = b && at < b->n ? record_at(RECORD_BLOB, b, at, &len) : NULL;
    found = record && memcmp(record, name, SHORT_BYTES) == 0;
    if (found && at + 1 < b->n) found = memcmp(record_at(RECORD_BLOB, b, at + 1, &len), name, SHORT_BYTES) != 0;
    if (found) {
        memcpy(digest, record, RECORD_DIGEST);
        *size = record_blob_size(record);
    }
    readers_end(r->readers, slot);
    return found;
}

bool replica_manifest(const struct replica *r, const struct digest *d, struct wire_manifest *m) {
    uint8_t small[4096], *record = small;
    if (d->alg != DIGEST_SHA256) return false;
    size_t len = get(r, RECORD_MANIFEST, d->bytes, RECORD_DIGEST, small, sizeof(small));
    if (len > sizeof(small)) {
        size_t cap = len;
        record = xmalloc(cap);
        len = get(r, RECORD_MANIFEST, d->bytes, RECORD_DIGEST, record, cap);
        if (len > cap) len = 0; /* it was replaced meanwhile: a lookup tells */
    }
    if (len) record_read_manifest(record, len, m);
    if (record != small) free(record);
    return len > 0;
}

bool replica_tag(const struct replica *r, const uint8_t *key, size_t key_len, struct tag_facts *t) {
    uint8_t record[HOST_MAX + REPO_MAX + TAG_MAX + MEDIA_TYPE_MAX + 128];
    struct wire_tag found;
    size_t len = get(r, RECORD_TAG, key, key_len, record, sizeof(record));
    if (len == 0 || len > sizeof(record)) return false;
    record_read_tag(record, len, &found);
    *t = found.facts;
    return true;
}

/* --- the writer --- */

static void replace(struct replica *r, unsigned tile, struct block *with) {
    enum record_kind kind = tile_kind(tile);
    struct block *old = atomic_load_explicit(&r->tiles[tile], memory_order_relaxed);
    if (with && with->n == 0) {
        free(with);
        with = NULL;
    }
    if (old) {
        set_digest_take(&r->digest, &old->digest);
        atomic_fetch_sub(&r->records[kind], old->n);
        atomic_fetch_sub(&r->bytes, (int64_t)block_size(kind, old->n, old->len));
    }
    if (with) {
        set_digest_add(&r->digest, &with->digest);
        atomic_fetch_add(&r->records[kind], with->n);
        atomic_fetch_add(&r->bytes, (int64_t)block_size(kind, with->n, with->len));
    }
    atomic_store(&r->tiles[tile], with);
    readers_retire(r->readers, old);
}

static bool is_over(const struct replica *r, int64_t more) {
    return r->limit > 0 && more > 0 && atomic_load(&r->bytes) + more > r->limit;
}

/* Puts a record in the place of the one with its key; len 0: removes that. */
static int change(struct replica *r, enum record_kind kind, const uint8_t *key, size_t key_len, const uint8_t *record,
                  size_t len) {
    unsigned tile = record_tile(kind, key, key_len);
    const struct block *b = atomic_load_explicit(&r->tiles[tile], memory_order_relaxed);
    bool found;
    size_t at = find(kind, b, key, key_len, &found), was = 0;
    const uint8_t *old = b && found ? record_at(kind, b, at, &was) : NULL;
    if (!found && !len) return 0;
    size_t n = b ? b->n : 0, bytes = b ? b->len : 0;
    int64_t before = b ? (int64_t)block_size(kind, n, bytes) : 0;
    int64_t after = (int64_t)block_size(kind, n - found + (len > 0), bytes - was + len);
    if (is_over(r, after - before)) return ERR_TOO_BIG;
    struct block *c = changed(kind, b, at, found, record, len);
    struct set_digest d;
    if (b) c->digest = b->digest;
    if (old) {
        record_hash(&r->secret, kind, old, was, &d);
        set_digest_take(&c->digest, &d);
    }
    if (len) {
        record_hash(&r->secret, kind, record, len, &d);
        set_digest_add(&c->digest, &d);
    }
    replace(r, tile, c);
    return 0;
}

int replica_put(struct replica *r, enum record_kind kind, const uint8_t *record, size_t len) {
    return change(r, kind, record, record_key_len(kind, record, len), record, len);
}

void replica_remove(struct replica *r, enum record_kind kind, const uint8_t *key, size_t len) {
    (void)change(r, kind, key, len, NULL, 0);
}

void replica_empty_tile(struct replica *r, unsigned tile) {
    replace(r, tile, NULL);
}

int replica_set_tile(struct replica *r, unsigned tile, const struct tile_records *records) {
    enum record_kind kind = tile_kind(tile);
    replace(r, tile, NULL);
    if (records->n == 0) return 0;
    if (is_over(r, (int64_t)block_size(kind, records->n, records->bytes.len))) return ERR_TOO_BIG;
    struct block *b = block_new(kind, records->n, records->bytes.len);
    if (kind != RECORD_BLOB) memcpy(b->ends, records->ends, records->n * sizeof(*b->ends));
    memcpy((uint8_t *)(uintptr_t)bytes_of(kind, b), records->bytes.data, records->bytes.len);
    tile_records_digest(records, &r->secret, &b->digest);
    replace(r, tile, b);
    return 0;
}

static void each(const struct block *b, unsigned tile, void (*fn)(const uint8_t *record, size_t len, void *arg),
                 void *arg) {
    for (size_t i = 0; b && i < b->n; i++) {
        size_t len;
        const uint8_t *record = record_at(tile_kind(tile), b, i, &len);
        fn(record, len, arg);
    }
}

struct adding {
    struct replica *r;
    enum record_kind kind;
    struct set_digest sum;
};

static void add_hash(const uint8_t *record, size_t len, void *arg) {
    struct adding *a = arg;
    struct set_digest d;
    record_hash(&a->r->secret, a->kind, record, len, &d);
    set_digest_add(&a->sum, &d);
}

void replica_set_epoch(struct replica *r, const uint8_t epoch[EPOCH_BYTES]) {
    if (r->has_epoch && memcmp(r->epoch, epoch, EPOCH_BYTES) == 0) return;
    r->has_epoch = true;
    memcpy(r->epoch, epoch, EPOCH_BYTES);
    record_secret_of(epoch, &r->secret);
    r->digest = (struct set_digest){0};
    for (unsigned i = 0; i < TILES; i++) {
        struct block *b = atomic_load_explicit(&r->tiles[i], memory_order_relaxed);
        struct adding a = {.r = r, .kind = tile_kind(i)};
        if (!b) continue;
        each(b, i, add_hash, &a);
        b->digest = a.sum; /* readers do not look at it */
        set_digest_add(&r->digest, &a.sum);
    }
}

void replica_tile_digest(const struct replica *r, unsigned tile, struct set_digest *out) {
    const struct block *b = atomic_load_explicit(&r->tiles[tile], memory_order_relaxed);
    *out = b ? b->digest : (struct set_digest){0};
}

void replica_digest(const struct replica *r, struct set_digest *out) {
    *out = r->digest;
}

struct replica_view {
    struct replica *of;
    const struct block *tiles[TILES];
};

struct replica_view *replica_view_new(struct replica *r) {
    struct replica_view *v = xcalloc(1, sizeof(*v));
    v->of = r;
    readers_pin(r->readers);
    for (unsigned i = 0; i < TILES; i++)
        v->tiles[i] = atomic_load(&r->tiles[i]);
    return v;
}

void replica_view_free(struct replica_view *v) {
    if (!v) return;
    readers_unpin(v->of->readers);
    free(v);
}

size_t replica_view_tile(const struct replica_view *v, unsigned tile, size_t *bytes) {
    const struct block *b = v->tiles[tile];
    *bytes = b ? b->len : 0;
    return b ? b->n : 0;
}

void replica_view_each(const struct replica_view *v, unsigned tile,
                       void (*fn)(const uint8_t *record, size_t len, void *arg), void *arg) {
    each(v->tiles[tile], tile, fn, arg);
}

struct replica *replica_new(int64_t limit) {
    struct replica *r = xcalloc(1, sizeof(*r));
    r->limit = limit;
    r->readers = readers_new();
    return r;
}

void replica_free(struct replica *r) {
    if (!r) return;
    for (unsigned i = 0; i < TILES; i++)
        free(atomic_load(&r->tiles[i]));
    readers_free(r->readers);
    free(r);
}

void replica_stats(const struct replica *r, struct replica_stats *out) {
    for (int i = 0; i < RECORD_KINDS; i++)
        out->records[i] = atomic_load(&r->records[i]);
    out->bytes = atomic_load(&r->bytes);
    out->limit = r->limit;
}
