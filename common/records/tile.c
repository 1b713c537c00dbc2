/* Collects the records of a tile. Thread: owned by its user. */
#include "common/records/tile.h"

#include "common/core/alloc.h"

#include <stdlib.h>
#include <string.h>

#define TILE_BYTES_MAX (512 * MiB)

void tile_records_init(struct tile_records *t, enum record_kind kind) {
    *t = (struct tile_records){.kind = kind};
    buf_init(&t->bytes, TILE_BYTES_MAX);
}

void tile_records_fini(struct tile_records *t) {
    buf_fini(&t->bytes);
    free(t->ends);
    *t = (struct tile_records){.kind = t->kind};
}

int record_key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static bool comes_after(const struct tile_records *t, const uint8_t *record, size_t len) {
    size_t last_len;
    if (t->n == 0) return true;
    const uint8_t *last = tile_record(t, t->n - 1, &last_len);
    return record_key_compare(record, record_key_len(t->kind, record, len), last,
                              record_key_len(t->kind, last, last_len)) > 0;
}

int tile_records_add(struct tile_records *t, const void *record, size_t len) {
    if (!comes_after(t, record, len)) return ERR_INVALID;
    int r = buf_add(&t->bytes, record, len);
    if (r < 0) return r;
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->ends = xrealloc(t->ends, t->cap, sizeof(*t->ends));
    }
    t->ends[t->n++] = (uint32_t)t->bytes.len;
    return 0;
}

void tile_records_digest(const struct tile_records *t, const struct record_secret *s, struct set_digest *out) {
    *out = (struct set_digest){0};
    for (size_t i = 0; i < t->n; i++) {
        struct set_digest d;
        size_t len;
        const uint8_t *record = tile_record(t, i, &len);
        record_hash(s, t->kind, record, len, &d);
        set_digest_add(out, &d);
    }
}
