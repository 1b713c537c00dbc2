/* Reads the records of tiles. Thread: any that may block on the disk. */
#include "central/catalog/catalog_private.h"
#include "central/catalog/replica_reads.h"
#include "common/core/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG_BYTES ((size_t)(32 * MiB))
/* A single tile may take more. */
#define ONE_TILE_BYTES(tag_bytes) (4 * (tag_bytes))

/* Binds the first digest of a tile and the first that comes after it. */
static void bind_tile(sqlite3_stmt *st, unsigned tile) {
    unsigned bits = tile_kind(tile) == RECORD_BLOB ? 12 : 10, first = tile_within(tile), after = first + 1;
    uint8_t low[3] = {DIGEST_SHA256, (uint8_t)(first >> (bits - 8)), (uint8_t)(first << (16 - bits))};
    uint8_t high[3] = {DIGEST_SHA256, (uint8_t)(after >> (bits - 8)), (uint8_t)(after << (16 - bits))};
    if (after >> bits) memcpy(high, (uint8_t[]){DIGEST_SHA256 + 1, 0, 0}, sizeof(high));
    sqlite3_bind_blob(st, 1, low, sizeof(low), SQLITE_TRANSIENT);
    sqlite3_bind_blob(st, 2, high, sizeof(high), SQLITE_TRANSIENT);
}

/* Adds a record that was made in out, if it could be. */
static void add(struct tile_records *t, struct buf *out, int made) {
    if (made == 0) (void)!tile_records_add(t, out->data, out->len);
    buf_clear(out);
}

static int read_blobs(struct reader *r, unsigned tile, struct tile_records *t) {
    sqlite3_stmt *st = r->st[READ_BLOBS_FROM];
    struct buf record;
    int rc;
    buf_init(&record, RECORD_MAX);
    bind_tile(st, tile);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct digest d;
        if (!db_column_digest(st, 0, &d)) continue;
        add(t, &record, record_of_blob(&record, &d, sqlite3_column_int64(st, 1)));
    }
    db_reset(r->st[READ_BLOBS_FROM]);
    buf_fini(&record);
    return rc;
}

static int read_children(struct reader *r, const struct digest *d, struct manifest *m) {
    sqlite3_stmt *st = r->st[READ_CHILDREN];
    size_t cap = 0;
    int rc, bad = SQLITE_OK;
    db_bind_digest(st, 1, d);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && bad == SQLITE_OK && m->n_children <= RECORD_CHILDREN_MAX) {
        if (m->n_children == cap) {
            cap = cap ? 2 * cap : 16;
            m->children = xrealloc(m->children, cap, sizeof(*m->children));
        }
        bad = catalog_read_child(st, &m->children[m->n_children]);
        m->n_children += bad == SQLITE_OK;
    }
    db_reset(r->st[READ_CHILDREN]);
    return bad ? bad : rc;
}

static int read_manifests(struct reader *r, unsigned tile, struct tile_records *t) {
    sqlite3_stmt *st = r->st[READ_MANIFESTS_FROM];
    struct buf record;
    int rc, bad = SQLITE_DONE;
    buf_init(&record, RECORD_MAX);
    bind_tile(st, tile);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && (bad == SQLITE_DONE || bad == SQLITE_ROW)) {
        struct manifest m = {0};
        struct digest d;
        if (!db_column_digest(st, 0, &d)) continue;
        const char *type = (const char *)sqlite3_column_text(st, 1);
        snprintf(m.media_type, sizeof(m.media_type), "%s", type ? type : "");
        bad = read_children(r, &d, &m);
        add(t, &record, record_of_manifest(&record, &d, sqlite3_column_int64(st, 2), &m));
        manifest_fini(&m);
    }
    db_reset(r->st[READ_MANIFESTS_FROM]);
    buf_fini(&record);
    return bad == SQLITE_DONE || bad == SQLITE_ROW ? rc : bad;
}

/* --- tags: one pass over all for all tiles that are wanted --- */

struct tag_record {
    unsigned tile;
    size_t len;
    uint8_t bytes[];
};

static int compare_tags(const void *a, const void *b) {
    const struct tag_record *x = *(struct tag_record *const *)a, *y = *(struct tag_record *const *)b;
    if (x->tile != y->tile) return x->tile < y->tile ? -1 : 1;
    return record_key_compare(x->bytes, record_key_len(RECORD_TAG, x->bytes, x->len), y->bytes,
                              record_key_len(RECORD_TAG, y->bytes, y->len));
}

struct tags {
    struct tag_record **list;
    size_t n, cap, bytes, most;
    bool too_big; /* the one tile that is left has more than there is memory for: nothing of it is kept */
};

/* Leaves out the last tile that is wanted, unless it is the only one. */
static bool drop_a_tile(struct tags *all, bool *wanted) {
    unsigned last = TILES_OF_TAGS, n = 0;
    for (unsigned i = 0; i < TILES_OF_TAGS; i++) {
        if (!wanted[i]) continue;
        last = i;
        n++;
    }
    if (n < 2) return false;
    wanted[last] = false;
    size_t kept = 0;
    for (size_t i = 0; i < all->n; i++) {
        struct tag_record *t = all->list[i];
        if (t->tile != last) {
            all->list[kept++] = t;
            continue;
        }
        all->bytes -= sizeof(*t) + t->len;
        free(t);
    }
    all->n = kept;
    return true;
}

/* False: reading goes no further. */
static bool has_room(struct tags *all, bool *wanted) {
    while (all->bytes >= all->most && drop_a_tile(all, wanted))
        ;
    all->too_big = all->bytes >= ONE_TILE_BYTES(all->most);
    return !all->too_big;
}

static void keep_tag(struct tags *all, unsigned tile, const struct buf *record) {
    if (all->n == all->cap) {
        all->cap = all->cap ? 2 * all->cap : 256;
        all->list = xrealloc(all->list, all->cap, sizeof(*all->list));
    }
    struct tag_record *t = xmalloc(sizeof(*t) + record->len);
    t->tile = tile;
    t->len = record->len;
    memcpy(t->bytes, record->data, record->len);
    all->list[all->n++] = t;
    all->bytes += sizeof(*t) + record->len;
}

static int read_tags(struct reader *r, bool *wanted, struct tags *all) {
    sqlite3_stmt *st = r->st[READ_TAGS];
    struct buf record;
    struct wire_tag t;
    int rc;
    buf_init(&record, RECORD_MAX);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && has_room(all, wanted)) {
        buf_clear(&record);
        if (!catalog_read_tag(st, &t) || record_of_tag(&record, &t.repo, t.tag, &t.facts) < 0) continue;
        const uint8_t *bytes = (const uint8_t *)record.data;
        unsigned tile = record_tile(RECORD_TAG, bytes, record_key_len(RECORD_TAG, bytes, record.len));
        if (wanted[tile]) keep_tag(all, tile, &record);
    }
    db_reset(r->st[READ_TAGS]);
    buf_fini(&record);
    if (all->n) qsort(all->list, all->n, sizeof(*all->list), compare_tags);
    return rc;
}

static void fini_tags(struct tags *all) {
    for (size_t i = 0; i < all->n; i++)
        free(all->list[i]);
    free(all->list);
}

static void tags_of(const struct tags *all, unsigned tile, struct tile_records *t) {
    for (size_t i = 0; i < all->n; i++) {
        const struct tag_record *x = all->list[i];
        if (x->tile == tile) (void)!tile_records_add(t, x->bytes, x->len);
    }
}

/* --- all --- */

static int tile_digest(struct reader *r, unsigned tile, struct set_digest *out) {
    sqlite3_stmt *st = r->st[READ_TILE];
    sqlite3_bind_int(st, 1, (int)tile);
    int rc = sqlite3_step(st);
    *out = (struct set_digest){0};
    if (rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == SET_DIGEST_BYTES)
        *out = set_digest_get(sqlite3_column_blob(st, 0));
    db_reset(r->st[READ_TILE]);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The size of a blob, as of the same place. */
static bool blob_size(const uint8_t digest[RECORD_DIGEST], int64_t *size, void *arg) {
    struct reader *r = arg;
    struct digest d = {.alg = DIGEST_SHA256};
    sqlite3_stmt *st = r->st[READ_BLOB];
    memcpy(d.bytes, digest, RECORD_DIGEST);
    db_bind_digest(st, 1, &d);
    bool found = sqlite3_step(st) == SQLITE_ROW;
    if (found) *size = sqlite3_column_int64(st, 0);
    db_reset(r->st[READ_BLOB]);
    return found;
}

/* Reads one tile and hands it on. *more: another may follow. */
static int one_tile(struct reader *r, unsigned tile, struct place *of, const struct tags *tags,
                    const struct tile_reader *reader, bool *more) {
    struct tile_records t;
    int rc = SQLITE_DONE;
    enum record_kind kind = tile_kind(tile);
    tile_records_init(&t, kind);
    if (kind == RECORD_TAG)
        tags_of(tags, tile, &t);
    else
        rc = kind == RECORD_BLOB ? read_blobs(r, tile, &t) : read_manifests(r, tile, &t);
    const struct record_blobs blobs = {.size = blob_size, .arg = r};
    bool too_big = kind == RECORD_TAG && tags->too_big;
    if (rc == SQLITE_DONE) *more = reader->tile(tile, of, too_big ? NULL : &t, &blobs, reader->arg);
    tile_records_fini(&t);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int all_tiles(struct reader *r, const unsigned *tiles, size_t n, const struct tile_reader *reader) {
    struct place of;
    struct tags tags = {.most = reader->tag_bytes ? reader->tag_bytes : TAG_BYTES};
    bool wanted[TILES_OF_TAGS] = {false}, any = false, more = true;
    int rc = catalog_read_place(r, &of);
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
        if (tile_kind(tiles[i]) != RECORD_TAG) continue;
        rc = tile_digest(r, tiles[i], &of.digest);
        wanted[tiles[i]] = reader->wants(tiles[i], &of, reader->arg);
        any = any || wanted[tiles[i]];
    }
    if (rc == SQLITE_OK && any) rc = read_tags(r, wanted, &tags);
    if (rc == SQLITE_DONE || rc == SQLITE_ROW) rc = SQLITE_OK;
    for (size_t i = 0; i < n && rc == SQLITE_OK && more; i++) {
        rc = tile_digest(r, tiles[i], &of.digest);
        bool wants = tile_kind(tiles[i]) == RECORD_TAG ? wanted[tiles[i]] : reader->wants(tiles[i], &of, reader->arg);
        if (rc == SQLITE_OK && wants) rc = one_tile(r, tiles[i], &of, &tags, reader, &more);
    }
    fini_tags(&tags);
    return rc;
}

int catalog_read_tiles(struct catalog *c, const unsigned *tiles, size_t n, const struct tile_reader *reader) {
    struct reader *r = catalog_take_reader(c);
    int rc = sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = all_tiles(r, tiles, n, reader);
    sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL);
    catalog_give_reader(c, r);
    return catalog_read_code(c, rc);
}
