/* Reads and writes the rows. Thread: see held_rows.h. */
#include "central/reports/held_rows.h"

#include "common/core/alloc.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char held_rows_schema[] =
    "CREATE TABLE IF NOT EXISTS blobs(number INTEGER PRIMARY KEY, digest BLOB NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS edges(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, site TEXT NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS held(edge INTEGER NOT NULL, part INTEGER NOT NULL, numbers BLOB NOT NULL,"
    " PRIMARY KEY(edge, part)) STRICT, WITHOUT ROWID;";

/* name, SQL */
#define STATEMENTS(X)                                                               \
    X(PUT_BLOB, "INSERT OR REPLACE INTO blobs(number, digest) VALUES(?, ?)")        \
    X(DROP_BLOB, "DELETE FROM blobs WHERE number = ?")                              \
    X(ADD_EDGE, "INSERT OR IGNORE INTO edges(name, site) VALUES(?, ?)")             \
    X(FIND_EDGE, "SELECT id FROM edges WHERE name = ?")                             \
    X(PUT_HELD, "INSERT OR REPLACE INTO held(edge, part, numbers) VALUES(?, ?, ?)") \
    X(DROP_HELD, "DELETE FROM held WHERE edge = ? AND part = ?")                    \
    X(FORGET_HELD, "DELETE FROM held WHERE edge = ?")                               \
    X(FORGET_EDGE, "DELETE FROM edges WHERE id = ?")

enum statement {
#define X(name, sql) name,
    STATEMENTS(X)
#undef X
        STATEMENT_COUNT
};

struct held_rows {
    struct holdings *holdings;
    int64_t *gone; /* rows of edges that were removed */
    size_t n_gone, cap_gone;
    sqlite3_stmt *st[STATEMENT_COUNT]; /* finalized with the writer's connection */
};

struct held_rows *held_rows_new(struct holdings *h) {
    struct held_rows *r = xcalloc(1, sizeof(*r));
    r->holdings = h;
    return r;
}

void held_rows_free(struct held_rows *r) {
    if (!r) return;
    free(r->gone);
    free(r);
}

/* --- a part --- */

size_t held_part_pack(const uint16_t *within, size_t n, uint8_t out[HELD_PART_BYTES]) {
    if (2 * n < HELD_PART_BYTES) {
        for (size_t i = 0; i < n; i++) {
            out[2 * i] = (uint8_t)within[i];
            out[2 * i + 1] = (uint8_t)(within[i] >> 8);
        }
        return 2 * n;
    }
    memset(out, 0, HELD_PART_BYTES);
    for (size_t i = 0; i < n; i++)
        out[within[i] / 8] |= (uint8_t)(1u << within[i] % 8);
    return HELD_PART_BYTES;
}

/* A word at a time: a fleet has 200 million of these bits. */
static size_t unpack_bits(const uint8_t *bytes, uint16_t within[HOLDINGS_PART]) {
    size_t n = 0;
    for (unsigned i = 0; i < HELD_PART_BYTES; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof(word));
        for (word = le64toh(word); word; word &= word - 1)
            within[n++] = (uint16_t)(8 * i + (unsigned)__builtin_ctzll(word));
    }
    return n;
}

size_t held_part_unpack(const uint8_t *bytes, size_t len, uint16_t within[HOLDINGS_PART]) {
    if (len == HELD_PART_BYTES) return unpack_bits(bytes, within);
    if (len > HELD_PART_BYTES || len % 2) return SIZE_MAX;
    for (size_t i = 0; i < len / 2; i++) {
        within[i] = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
        if (within[i] >= HOLDINGS_PART || (i > 0 && within[i] <= within[i - 1])) return SIZE_MAX;
    }
    return len / 2;
}

/* --- writing --- */

static sqlite3_stmt *statement(struct held_rows *r, sqlite3 *db, enum statement which) {
    static const char *const sql[] = {
#define X(name, text) text,
        STATEMENTS(X)
#undef X
    };
    return db_prepared(db, &r->st[which], sql[which]);
}

int64_t held_rows_edge(struct held_rows *r, sqlite3 *db, const char *name, const char *site) {
    sqlite3_stmt *st = statement(r, db, ADD_EDGE), *find = statement(r, db, FIND_EDGE);
    sqlite3_bind_text(st, 1, name, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 2, site, -1, SQLITE_TRANSIENT);
    if (db_run(st) != SQLITE_OK) return 0;
    sqlite3_bind_text(find, 1, name, -1, SQLITE_TRANSIENT);
    int64_t id = sqlite3_step(find) == SQLITE_ROW ? sqlite3_column_int64(find, 0) : 0;
    db_reset(find);
    return id;
}

static int write_number(struct held_rows *r, sqlite3 *db, uint32_t number) {
    const uint8_t *digest = holdings_digest_of(r->holdings, number);
    sqlite3_stmt *st = statement(r, db, digest ? PUT_BLOB : DROP_BLOB);
    sqlite3_bind_int64(st, 1, number);
    if (digest) sqlite3_bind_blob(st, 2, digest, NUMBERED_DIGEST, SQLITE_TRANSIENT);
    return db_run(st);
}

static int write_part(struct held_rows *r, sqlite3 *db, int64_t id, const struct holder *e, uint32_t part) {
    uint16_t within[HOLDINGS_PART];
    uint8_t bytes[HELD_PART_BYTES];
    size_t n = holdings_part(r->holdings, e, part, within);
    sqlite3_stmt *st = statement(r, db, n ? PUT_HELD : DROP_HELD);
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, part);
    if (n) sqlite3_bind_blob(st, 3, bytes, (int)held_part_pack(within, n, bytes), SQLITE_TRANSIENT);
    return db_run(st);
}

static int code_of(sqlite3 *db, int rc) {
    if (rc == SQLITE_OK) return 0;
    int code = db_error_code(db);
    return code < 0 ? code : ERR_INTERNAL;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int held_rows_write(struct held_rows *r, sqlite3 *db, const struct holder *e, const struct holdings_dirty *dirty) {
    int rc = SQLITE_OK;
    for (size_t i = 0; i < dirty->n_numbers && rc == SQLITE_OK; i++)
        rc = write_number(r, db, dirty->numbers[i]);
    if (rc != SQLITE_OK || !e || dirty->n_parts == 0) return code_of(db, rc);
    int64_t id = held_rows_edge(r, db, holder_name(e), holder_site(e));
    if (!id) return code_of(db, SQLITE_ERROR);
    qsort(dirty->parts, dirty->n_parts, sizeof(*dirty->parts), by_value);
    for (size_t i = 0; i < dirty->n_parts && rc == SQLITE_OK; i++) {
        if (i > 0 && dirty->parts[i] == dirty->parts[i - 1]) continue;
        rc = write_part(r, db, id, e, dirty->parts[i]);
    }
    return code_of(db, rc);
}

int held_rows_forget(struct held_rows *r, sqlite3 *db, int (*also)(int64_t edge, sqlite3 *db, void *arg), void *arg) {
    int rc = SQLITE_OK;
    for (size_t i = 0; i < r->n_gone && rc == SQLITE_OK; i++) {
        static const enum statement steps[] = {FORGET_HELD, FORGET_EDGE};
        for (size_t j = 0; j < ARRAY_LEN(steps) && rc == SQLITE_OK; j++) {
            sqlite3_stmt *st = statement(r, db, steps[j]);
            sqlite3_bind_int64(st, 1, r->gone[i]);
            rc = db_run(st);
        }
        if (rc == SQLITE_OK) rc = also(r->gone[i], db, arg);
    }
    r->n_gone = 0;
    return code_of(db, rc);
}

/* --- reading --- */

struct reading {
    struct held_rows *rows;
    const struct held_reading *how;
    struct holder **edges; /* by id; NULL: there is none, or it is gone */
    size_t n_edges;
};

/* fn for each row; false: it is damaged. */
static int each_row(const char *sql, bool (*fn)(sqlite3_stmt *st, struct reading *in), struct reading *in,
                    struct error *err) {
    sqlite3 *db = in->how->db;
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
        rc = atomic_load(in->how->stop) ? SQLITE_INTERRUPT : fn(st, in) ? SQLITE_OK : SQLITE_CORRUPT;
    sqlite3_finalize(st);
    if (rc == SQLITE_DONE) return 0;
    if (rc == SQLITE_INTERRUPT) return error_set(err, -ECANCELED, "it was to end");
    return error_set(err, db_is_damage(rc) ? ERR_CORRUPT : code_of(db, rc), "%s", sqlite3_errstr(rc));
}

/* One that does not fit is left out: who holds it tells so again, because its digest differs then. */
static bool read_number(sqlite3_stmt *st, struct reading *in) {
    int64_t number = sqlite3_column_int64(st, 0);
    const void *digest = sqlite3_column_blob(st, 1);
    if (sqlite3_column_bytes(st, 1) != NUMBERED_DIGEST || number < 0 || number >= DIGEST_NUMBERS_MAX) return false;
    bool fits = holdings_load_number(in->how->into, (uint32_t)number, digest);
    (void)fits;
    return true;
}

static void note_gone(struct held_rows *r, int64_t id) {
    if (r->n_gone == r->cap_gone) {
        r->cap_gone = r->cap_gone ? 2 * r->cap_gone : 16;
        r->gone = xrealloc(r->gone, r->cap_gone, sizeof(*r->gone));
    }
    r->gone[r->n_gone++] = id;
}

#define EDGE_ROWS_MAX (1 << 20)

static bool read_edge(sqlite3_stmt *st, struct reading *in) {
    int64_t id = sqlite3_column_int64(st, 0);
    const char *name = (const char *)sqlite3_column_text(st, 1), *site = (const char *)sqlite3_column_text(st, 2);
    if (!name || !site || strlen(name) >= MEMBER_NAME_MAX || strlen(site) >= MEMBER_NAME_MAX) return false;
    if (id < 1 || id > EDGE_ROWS_MAX) return false;
    if (in->how->is_gone(name, in->how->arg)) {
        note_gone(in->rows, id);
        return true;
    }
    if ((size_t)id >= in->n_edges) {
        size_t n = 2 * (size_t)id;
        in->edges = xrealloc(in->edges, n, sizeof(struct holder *));
        memset(in->edges + in->n_edges, 0, (n - in->n_edges) * sizeof(struct holder *));
        in->n_edges = n;
    }
    in->edges[id] = holdings_edge(in->how->into, name, site);
    return true;
}

static bool read_part(sqlite3_stmt *st, struct reading *in) {
    uint16_t within[HOLDINGS_PART];
    int64_t id = sqlite3_column_int64(st, 0), part = sqlite3_column_int64(st, 1);
    size_t n = held_part_unpack(sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2), within);
    if (n == SIZE_MAX || part < 0 || part >= DIGEST_NUMBERS_MAX / HOLDINGS_PART) return false;
    struct holder *e = id > 0 && (size_t)id < in->n_edges ? in->edges[id] : NULL;
    if (e) holdings_load_part(in->how->into, e, (uint32_t)part, within, n);
    return true;
}

int held_rows_read(struct held_rows *r, const struct held_reading *how, struct holdings_dirty *dirty,
                   struct error *err) {
    struct reading in = {.rows = r, .how = how};
    int code = each_row("SELECT number, digest FROM blobs", read_number, &in, err);
    if (code == 0) code = each_row("SELECT id, name, site FROM edges", read_edge, &in, err);
    if (code == 0) code = each_row("SELECT edge, part, numbers FROM held", read_part, &in, err);
    free(in.edges);
    if (code == 0) holdings_loaded(how->into, dirty);
    return code;
}
