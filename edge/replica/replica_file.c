/* Writes and reads the file of the replica. Thread: any that may block on the disk. */
#include "edge/replica/replica_file.h"

#include "common/core/alloc.h"
#include "common/core/file.h"
#include "common/core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char magic[] = "entrepot replica 1\n";
#define MAGIC_BYTES (sizeof(magic) - 1)
#define HEAD_BYTES (MAGIC_BYTES + EPOCH_BYTES + 8 + SET_DIGEST_BYTES)
#define SUM_BYTES 32
#define LAST_TILE 0xffff
/* How much larger a file may be than the memory that its replica takes. */
#define FILE_EXTRA (1 * MiB)
#define FILE_MAX (64 * GiB) /* if there is no limit */

static void put(uint8_t *out, uint64_t n, int bytes) {
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(n >> (8 * i));
}

static uint64_t get(const uint8_t *in, int bytes) {
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++)
        n |= (uint64_t)in[i] << (8 * i);
    return n;
}

/* --- writing --- */

struct out {
    FILE *file;
    struct hasher hash;
    bool failed;
};

static void emit(struct out *o, const void *data, size_t len) {
    hasher_update(&o->hash, data, len);
    if (fwrite(data, 1, len, o->file) != len) o->failed = true;
}

static void emit_number(struct out *o, uint64_t n, int bytes) {
    uint8_t b[8];
    put(b, n, bytes);
    emit(o, b, (size_t)bytes);
}

struct emitting {
    struct out *out;
    bool lengths;
};

static void emit_record(const uint8_t *record, size_t len, void *arg) {
    struct emitting *e = arg;
    if (e->lengths) emit_number(e->out, len, 4);
    emit(e->out, record, len);
}

static void emit_all(struct out *o, const struct replica_view *v, const struct place *place) {
    uint8_t digest[SET_DIGEST_BYTES];
    set_digest_put(&place->digest, digest);
    emit(o, magic, MAGIC_BYTES);
    emit(o, place->epoch, EPOCH_BYTES);
    emit_number(o, place->number, 8);
    emit(o, digest, SET_DIGEST_BYTES);
    for (unsigned i = 0; i < TILES && !o->failed; i++) {
        size_t len, n = replica_view_tile(v, i, &len);
        struct emitting e = {.out = o, .lengths = tile_kind(i) != RECORD_BLOB};
        if (n == 0) continue;
        emit_number(o, i, 2);
        emit_number(o, n, 4);
        emit_number(o, len + (e.lengths ? 4 * n : 0), 4);
        replica_view_each(v, i, emit_record, &e);
    }
    emit_number(o, LAST_TILE, 2);
}

static int write_file(const struct replica_view *v, const struct place *place, const char *path, struct error *err) {
    struct out o = {.file = fopen(path, "we")};
    struct digest sum;
    if (!o.file) return error_errno(err, "creating %s", path);
    hasher_init(&o.hash, DIGEST_SHA256);
    emit_all(&o, v, place);
    hasher_final(&o.hash, &sum);
    bool good = !o.failed && fwrite(sum.bytes, 1, SUM_BYTES, o.file) == SUM_BYTES && fflush(o.file) == 0 &&
                fsync(fileno(o.file)) == 0;
    int r = good ? 0 : error_errno(err, "writing %s", path);
    fclose(o.file);
    return r;
}

int replica_save(const struct replica_view *v, const struct place *place, const char *path, struct error *err) {
    char other[4096];
    snprintf(other, sizeof(other), "%s.new", path);
    int r = write_file(v, place, other, err);
    if (r == 0 && rename(other, path) < 0) r = error_errno(err, "renaming %s", other);
    if (r < 0) unlink(other);
    return r;
}

/* --- reading --- */

static int add_record(struct tile_records *t, unsigned tile, const uint8_t *record, size_t len) {
    if (!record_is_sound(t->kind, record, len)) return ERR_CORRUPT;
    if (record_tile(t->kind, record, record_key_len(t->kind, record, len)) != tile) return ERR_CORRUPT;
    return tile_records_add(t, record, len);
}

static int read_records(struct tile_records *t, unsigned tile, size_t n, const uint8_t *at, size_t left) {
    bool lengths = t->kind != RECORD_BLOB;
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        size_t len = RECORD_BLOB_BYTES;
        if (lengths && left < 4) return ERR_CORRUPT;
        if (lengths) {
            len = (size_t)get(at, 4);
            at += 4;
            left -= 4;
        }
        if (len > left) return ERR_CORRUPT;
        r = add_record(t, tile, at, len);
        at += len;
        left -= len;
    }
    return r == 0 && left ? ERR_CORRUPT : r;
}

/* Reads the file up to its checksum. */
static int read_all(struct replica *r, const uint8_t *data, size_t len, struct place *place) {
    if (len < HEAD_BYTES + 2 || memcmp(data, magic, MAGIC_BYTES) != 0) return ERR_CORRUPT;
    const uint8_t *at = data + MAGIC_BYTES, *end = data + len;
    memcpy(place->epoch, at, EPOCH_BYTES);
    place->number = get(at + EPOCH_BYTES, 8);
    place->digest = set_digest_get(at + EPOCH_BYTES + 8);
    replica_set_epoch(r, place->epoch);
    for (at = data + HEAD_BYTES; end - at >= 2;) {
        unsigned tile = (unsigned)get(at, 2);
        struct tile_records t;
        if (tile == LAST_TILE) return end - at == 2 ? 0 : ERR_CORRUPT;
        if (tile >= TILES || end - at < 10) return ERR_CORRUPT;
        size_t n = (size_t)get(at + 2, 4), bytes = (size_t)get(at + 6, 4);
        at += 10;
        if ((size_t)(end - at) < bytes) return ERR_CORRUPT;
        tile_records_init(&t, tile_kind(tile));
        int code = read_records(&t, tile, n, at, bytes);
        if (code == 0) code = replica_set_tile(r, tile, &t);
        tile_records_fini(&t);
        if (code < 0) return code;
        at += bytes;
    }
    return ERR_CORRUPT;
}

static int read_checked(struct replica *r, const char *data, size_t len, struct place *place) {
    struct digest sum;
    struct set_digest ours;
    if (len < SUM_BYTES) return ERR_CORRUPT;
    digest_of(&sum, DIGEST_SHA256, data, len - SUM_BYTES);
    if (memcmp(sum.bytes, data + len - SUM_BYTES, SUM_BYTES) != 0) return ERR_CORRUPT;
    int code = read_all(r, (const uint8_t *)data, len - SUM_BYTES, place);
    replica_digest(r, &ours);
    return code == 0 && !set_digest_eq(&ours, &place->digest) ? ERR_CORRUPT : code;
}

static size_t file_max(const struct replica *r) {
    struct replica_stats s;
    replica_stats(r, &s);
    return (size_t)(s.limit ? 2 * s.limit + FILE_EXTRA : FILE_MAX);
}

bool replica_load(struct replica *r, const char *path, struct place *place) {
    char *data = NULL;
    size_t len = 0;
    struct error err = {0};
    int code = file_read_all(path, file_max(r), &data, &len, &err);
    if (code == -ENOENT) return false;
    if (code == 0) code = read_checked(r, data, len, place);
    free(data);
    if (code == 0) return true;
    log_warn("replica_file_dropped", KV_S("path", path), KV_S("why", error_name(code)),
             KV_S("then", "the catalogue is fetched from central"));
    for (unsigned i = 0; i < TILES; i++)
        replica_empty_tile(r, i);
    unlink(path);
    return false;
}
