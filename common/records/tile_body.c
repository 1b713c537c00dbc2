/* Packs and unpacks the body of a tile. Thread: any. */
#include "common/records/tile_body.h"

#include <zstd.h>

#include "common/core/alloc.h"
#include "common/records/varint.h"

#include <stdlib.h>
#include <string.h>

#define LEVEL 3
#define PLAIN_MAX ((size_t)(64 * MiB)) /* bytes of a tile's records */
#define HEAD 4                         /* bytes of a digest that are sent as differences */
#define TAIL (RECORD_DIGEST - HEAD)

static int add_compressed(struct buf *out, const struct buf *plain) {
    size_t bound = ZSTD_compressBound(plain->len);
    char *packed = xmalloc(bound);
    size_t n = ZSTD_compress(packed, bound, plain->data ? plain->data : "", plain->len, LEVEL);
    int r = ZSTD_isError(n) ? ERR_INTERNAL : varint_add(out, n);
    if (r == 0) r = buf_add(out, packed, n);
    free(packed);
    return r;
}

static uint32_t head_of(const uint8_t *digest) {
    return (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 | digest[3];
}

static int plain_blobs(const struct tile_records *t, struct buf *plain) {
    uint32_t last = 0;
    int r = varint_add(plain, t->n);
    for (size_t i = 0; i < t->n && r == 0; i++) {
        size_t len;
        uint32_t head = head_of(tile_record(t, i, &len));
        r = varint_add(plain, head - last);
        last = head;
    }
    for (size_t i = 0; i < t->n && r == 0; i++) {
        size_t len;
        r = varint_add(plain, (uint64_t)record_blob_size(tile_record(t, i, &len)));
    }
    return r;
}

static bool has_none(const uint8_t digest[RECORD_DIGEST], int64_t *size, void *arg) {
    (void)digest, (void)size, (void)arg;
    return false;
}

static int plain_others(const struct tile_records *t, const struct record_blobs *blobs, struct buf *plain) {
    static const struct record_blobs none = {.size = has_none};
    struct buf form;
    buf_init(&form, RECORD_MAX);
    int r = varint_add(plain, t->n);
    for (size_t i = 0; i < t->n && r == 0; i++) {
        size_t len;
        const uint8_t *record = tile_record(t, i, &len);
        buf_clear(&form);
        r = t->kind == RECORD_MANIFEST ? record_shorten(record, len, blobs ? blobs : &none, &form)
                                       : buf_add(&form, record, len);
        if (r == 0) r = varint_add(plain, form.len);
        if (r == 0) r = buf_add(plain, form.data, form.len);
    }
    buf_fini(&form);
    return r;
}

int tile_body_pack(const struct tile_records *t, const struct record_blobs *blobs, struct buf *out) {
    struct buf plain;
    buf_init(&plain, PLAIN_MAX);
    int r = t->kind == RECORD_BLOB ? plain_blobs(t, &plain) : plain_others(t, blobs, &plain);
    if (r == 0) r = add_compressed(out, &plain);
    for (size_t i = 0; t->kind == RECORD_BLOB && i < t->n && r == 0; i++) {
        size_t len;
        r = buf_add(out, tile_record(t, i, &len) + HEAD, TAIL);
    }
    buf_fini(&plain);
    return r;
}

/* Decompresses. The caller frees *plain. */
static int decompress(struct varint_in *in, char **plain, size_t *len) {
    uint64_t n = varint_get(in);
    if (in->bad || n > in->left) return ERR_INVALID;
    unsigned long long size = ZSTD_getFrameContentSize(in->at, n);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) return ERR_INVALID;
    if (size > PLAIN_MAX || size / 1000 > n) return ERR_TOO_BIG;
    *plain = xmalloc(size + 1);
    size_t got = ZSTD_decompress(*plain, size, in->at, n);
    in->at += n;
    in->left -= n;
    *len = size;
    return ZSTD_isError(got) || got != size ? ERR_INVALID : 0;
}

static int add_checked(struct tile_records *out, unsigned tile, const uint8_t *record, size_t len) {
    enum record_kind kind = out->kind;
    if (!record_is_sound(kind, record, len)) return ERR_INVALID;
    if (record_tile(kind, record, record_key_len(kind, record, len)) != tile) return ERR_INVALID;
    return tile_records_add(out, record, len);
}

static int take_blobs(unsigned tile, struct varint_in *plain, struct varint_in *rest, struct tile_records *out) {
    uint64_t n = varint_get(plain), head = 0;
    if (plain->bad || n > rest->left / TAIL || rest->left != n * TAIL) return ERR_INVALID;
    uint8_t *records = xmalloc((size_t)n * RECORD_BLOB_BYTES + 1);
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *record = records + i * RECORD_BLOB_BYTES;
        head += varint_get(plain);
        for (int k = 0; k < HEAD; k++)
            record[k] = (uint8_t)(head >> (8 * (HEAD - 1 - k)));
        memcpy(record + HEAD, rest->at + i * TAIL, TAIL);
        if (head > UINT32_MAX) plain->bad = true;
    }
    int r = 0;
    for (uint64_t i = 0; i < n && r == 0; i++) {
        uint8_t *record = records + i * RECORD_BLOB_BYTES;
        uint64_t size = varint_get(plain);
        if (size >> 48) plain->bad = true;
        for (int k = 0; k < 6; k++)
            record[RECORD_DIGEST + k] = (uint8_t)(size >> (8 * k));
        r = plain->bad ? ERR_INVALID : add_checked(out, tile, record, RECORD_BLOB_BYTES);
    }
    free(records);
    return r == 0 && (plain->bad || plain->left) ? ERR_INVALID : r;
}

static int take_one(struct tile_records *out, unsigned tile, const uint8_t *form, size_t len,
                    const struct record_names *names) {
    static const struct record_names none = {0};
    struct buf record;
    if (out->kind != RECORD_MANIFEST) return add_checked(out, tile, form, len);
    buf_init(&record, RECORD_MAX);
    int r = record_lengthen(form, len, names ? names : &none, &record);
    if (r == 0) r = add_checked(out, tile, (const uint8_t *)record.data, record.len);
    buf_fini(&record);
    return r;
}

static int take_others(unsigned tile, struct varint_in *plain, const struct record_names *names,
                       struct tile_records *out) {
    uint64_t n = varint_get(plain);
    int r = 0;
    for (uint64_t i = 0; i < n && r == 0; i++) {
        uint64_t len = varint_get(plain);
        if (plain->bad || len > plain->left) return ERR_INVALID;
        r = take_one(out, tile, plain->at, (size_t)len, names);
        plain->at += len;
        plain->left -= (size_t)len;
    }
    return r == 0 && (plain->bad || plain->left) ? ERR_INVALID : r;
}

int tile_body_unpack(unsigned tile, const void *body, size_t len, const struct record_names *names,
                     struct tile_records *out) {
    struct varint_in in = {.at = body, .left = len};
    char *plain = NULL;
    size_t n = 0;
    int r = decompress(&in, &plain, &n);
    struct varint_in p = {.at = (const uint8_t *)plain, .left = n};
    if (r == 0 && out->kind == RECORD_BLOB)
        r = take_blobs(tile, &p, &in, out);
    else if (r == 0)
        r = in.left ? ERR_INVALID : take_others(tile, &p, names, out);
    free(plain);
    return r;
}
