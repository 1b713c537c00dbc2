/* Reads the change log. All of one answer is read in one transaction, so that it is of one place. Thread: any that may
 * block on the disk. */
#include "central/catalog/replica_reads.h"

#include "central/catalog/catalog_private.h"
#include "common/core/alloc.h"

#include <string.h>

int catalog_read_code(struct catalog *c, int rc) {
    if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE) return 0;
    catalog_suspect(c, rc);
    return (rc & 0xff) == SQLITE_CORRUPT ? ERR_CORRUPT : ERR_INTERNAL;
}

static bool column_set_digest(sqlite3_stmt *st, int column, struct set_digest *out) {
    if (sqlite3_column_bytes(st, column) != SET_DIGEST_BYTES) return false;
    *out = set_digest_get(sqlite3_column_blob(st, column));
    return true;
}

static int begin(struct reader *r) {
    return sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL);
}

static void end(struct reader *r) {
    sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL);
}

int catalog_read_place(struct reader *r, struct place *out) {
    sqlite3_stmt *st = r->st[READ_PLACE];
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == EPOCH_BYTES && column_set_digest(st, 2, &out->digest)) {
        memcpy(out->epoch, sqlite3_column_blob(st, 0), EPOCH_BYTES);
        out->number = (uint64_t)sqlite3_column_int64(st, 1);
        rc = SQLITE_OK;
    } else if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        rc = SQLITE_CORRUPT;
    }
    db_reset(r->st[READ_PLACE]);
    return rc;
}

int catalog_place(struct catalog *c, struct place *out) {
    struct reader *r = catalog_take_reader(c);
    int rc = catalog_read_place(r, out);
    catalog_give_reader(c, r);
    return catalog_read_code(c, rc);
}

/* Whether the log has an entry of that number, with that digest after it. */
static int has_entry(struct reader *r, const struct place *p, bool *has) {
    sqlite3_stmt *st = r->st[READ_LOG_AT];
    struct watch_message m = {0};
    size_t at, len;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)p->number);
    int rc = sqlite3_step(st);
    *has = false;
    if (rc == SQLITE_ROW) {
        const uint8_t *bytes = sqlite3_column_blob(st, 0);
        size_t n = (size_t)sqlite3_column_bytes(st, 0);
        bool readable = n > 0 && message_next(bytes, n, WATCH_MESSAGE_MAX, &at, &len) == 0 &&
                        watch_message_decode(&m, bytes + at, len) == 0;
        *has = readable && m.has_place && m.place.number == p->number && set_digest_eq(&m.place.digest, &p->digest);
        watch_message_fini(&m);
    }
    db_reset(r->st[READ_LOG_AT]);
    return rc;
}

int catalog_knows_place(struct catalog *c, const struct place *p, bool *knows, struct place *now) {
    struct reader *r = catalog_take_reader(c);
    *knows = false;
    int rc = begin(r);
    if (rc == SQLITE_OK) rc = catalog_read_place(r, now);
    if (rc == SQLITE_OK && place_same_epoch(p, now)) {
        if (p->number == now->number)
            *knows = set_digest_eq(&p->digest, &now->digest);
        else if (p->number < now->number)
            rc = has_entry(r, p, knows);
    }
    end(r);
    catalog_give_reader(c, r);
    return catalog_read_code(c, rc);
}

/* Whether an entry after this number may be gone from the log. Its numbers have no gaps: only its oldest are removed. */
static int is_cut_after(struct reader *r, uint64_t number, bool *cut) {
    struct place now = {0};
    sqlite3_stmt *st = r->st[READ_LOG_FIRST];
    int rc = catalog_read_place(r, &now);
    *cut = false;
    if (rc != SQLITE_OK || number >= now.number) return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *cut = sqlite3_column_type(st, 0) == SQLITE_NULL || (uint64_t)sqlite3_column_int64(st, 0) > number + 1;
    db_reset(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Returns an SQLite result code, or ERR_INTERNAL: no memory for more. */
static int add_changes(struct reader *r, uint64_t number, size_t max, size_t max_bytes, struct buf *out,
                       uint64_t *last) {
    sqlite3_stmt *st = r->st[READ_LOG];
    int rc, failed = 0;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)number);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)max);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && failed == 0 && out->len < max_bytes) {
        failed = buf_add(out, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
        if (failed == 0) *last = (uint64_t)sqlite3_column_int64(st, 0);
    }
    db_reset(st);
    return failed ? ERR_INTERNAL : rc;
}

int catalog_changes_after(struct catalog *c, uint64_t number, size_t max, size_t max_bytes, struct buf *out,
                          uint64_t *last) {
    struct reader *r = catalog_take_reader(c);
    bool cut = false;
    int rc = begin(r);
    if (rc == SQLITE_OK) rc = is_cut_after(r, number, &cut);
    if (rc == SQLITE_OK && !cut) rc = add_changes(r, number, max, max_bytes, out, last);
    end(r);
    catalog_give_reader(c, r);
    if (rc == ERR_INTERNAL) return rc;
    return cut ? ERR_NOT_FOUND : catalog_read_code(c, rc);
}

int catalog_tiles(struct catalog *c, struct tile_list *out) {
    struct reader *r = catalog_take_reader(c);
    sqlite3_stmt *st = r->st[READ_TILES];
    memset(out, 0, sizeof(*out));
    out->tiles = xcalloc(TILES, sizeof(*out->tiles));
    int rc = begin(r);
    if (rc == SQLITE_OK) rc = catalog_read_place(r, &out->place);
    while (rc == SQLITE_OK && out->n < TILES && sqlite3_step(st) == SQLITE_ROW) {
        struct tile_state *t = &out->tiles[out->n];
        t->tile = (unsigned)sqlite3_column_int(st, 0);
        if (t->tile < TILES && column_set_digest(st, 1, &t->digest)) out->n++;
    }
    db_reset(r->st[READ_TILES]);
    end(r);
    catalog_give_reader(c, r);
    return catalog_read_code(c, rc);
}
