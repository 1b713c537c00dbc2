/* Writes the change log and keeps the digests. Thread: the catalogue's writer. */
#include "central/catalog/changes.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* name, SQL */
#define CHANGE_STATEMENTS(X)                                                                             \
    X(GET_PLACE, "SELECT epoch, number, digest, seen FROM place WHERE id = 1")                           \
    X(PUT_PLACE, "INSERT OR REPLACE INTO place(id, epoch, number, digest, seen) VALUES(1, ?, ?, ?, ?)")  \
    X(GET_TILE, "SELECT records, digest FROM tiles WHERE tile = ?")                                      \
    X(PUT_TILE, "INSERT OR REPLACE INTO tiles(tile, records, digest) VALUES(?, ?, ?)")                   \
    X(DROP_TILE, "DELETE FROM tiles WHERE tile = ?")                                                     \
    X(DROP_TILES, "DELETE FROM tiles")                                                                   \
    X(DROP_LOG, "DELETE FROM log")                                                                       \
    X(LAST, "SELECT seq FROM sqlite_sequence WHERE name = 'log'")                                        \
    X(PUT_LOG, "INSERT INTO log(seq, at, kind, key, payload) VALUES(?, ?, ?, ?, ?)")                     \
    X(MANIFEST, "SELECT media_type, size FROM manifests WHERE digest = ?")                               \
    X(CHILDREN, "SELECT child, size, kind, is_foreign, os, arch, variant FROM children WHERE parent = ?" \
                " ORDER BY position")                                                                    \
    X(ALL_BLOBS, "SELECT digest, size FROM blobs")                                                       \
    X(ALL_MANIFESTS, "SELECT digest FROM manifests")                                                     \
    X(ALL_TAGS, "SELECT repo, tag, digest, size, media_type, checked_at, deleted, hosted FROM tags")

enum change_stmt {
#define X(name, sql) CHANGE_##name,
    CHANGE_STATEMENTS(X)
#undef X
        CHANGE_COUNT
};

struct changes {
    sqlite3_stmt *st[CHANGE_COUNT]; /* finalized by writer_close */
    struct record_secret secret;
    uint8_t epoch[EPOCH_BYTES]; /* that the secret is of */
    bool known;                 /* what follows is what the transaction has written */
    struct place place;
    uint64_t seen; /* the number of the last entry of any kind */
    struct buf was, now, message;
};

struct changes *changes_new(void) {
    struct changes *ch = xcalloc(1, sizeof(*ch));
    buf_init(&ch->was, 0);
    buf_init(&ch->now, 0);
    buf_init(&ch->message, 0);
    return ch;
}

void changes_free(struct changes *ch) {
    if (!ch) return;
    buf_fini(&ch->was);
    buf_fini(&ch->now);
    buf_fini(&ch->message);
    free(ch);
}

static sqlite3_stmt *statement(struct changes *ch, sqlite3 *db, enum change_stmt which) {
    static const char *const sql[] = {
#define X(name, text) text,
        CHANGE_STATEMENTS(X)
#undef X
    };
    return db_prepared(db, &ch->st[which], sql[which]);
}

static struct set_digest column_set_digest(sqlite3_stmt *st, int column) {
    struct set_digest none = {0};
    const uint8_t *bytes = sqlite3_column_blob(st, column);
    return sqlite3_column_bytes(st, column) == SET_DIGEST_BYTES ? set_digest_get(bytes) : none;
}

static void bind_set_digest(sqlite3_stmt *st, int at, const struct set_digest *d) {
    uint8_t bytes[SET_DIGEST_BYTES];
    set_digest_put(d, bytes);
    sqlite3_bind_blob(st, at, bytes, SET_DIGEST_BYTES, SQLITE_TRANSIENT);
}

/* --- the place --- */

/* SQLITE_ROW, or SQLITE_DONE: there is none. */
static int get_place(struct changes *ch, sqlite3 *db, struct place *p, uint64_t *seen) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_GET_PLACE);
    int rc = st ? sqlite3_step(st) : SQLITE_MISUSE;
    if (rc == SQLITE_ROW) {
        if (sqlite3_column_bytes(st, 0) == EPOCH_BYTES)
            memcpy(p->epoch, sqlite3_column_blob(st, 0), EPOCH_BYTES);
        else
            rc = SQLITE_DONE;
        p->number = (uint64_t)sqlite3_column_int64(st, 1);
        p->digest = column_set_digest(st, 2);
        *seen = (uint64_t)sqlite3_column_int64(st, 3);
    }
    sqlite3_reset(st);
    return rc;
}

static int put_place(struct changes *ch, sqlite3 *db, const struct place *p, uint64_t seen) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_PUT_PLACE);
    sqlite3_bind_blob(st, 1, p->epoch, EPOCH_BYTES, SQLITE_TRANSIENT);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)p->number);
    bind_set_digest(st, 3, &p->digest);
    sqlite3_bind_int64(st, 4, (sqlite3_int64)seen);
    return db_run(st);
}

static uint64_t last_entry(struct changes *ch, sqlite3 *db) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_LAST);
    uint64_t n = st && sqlite3_step(st) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return n;
}

static void use_epoch(struct changes *ch, const struct place *p) {
    if (memcmp(ch->epoch, p->epoch, EPOCH_BYTES) == 0) return;
    memcpy(ch->epoch, p->epoch, EPOCH_BYTES);
    record_secret_of(p->epoch, &ch->secret);
}

void changes_forget(struct changes *ch) {
    ch->known = false;
}

static int present(struct changes *ch, sqlite3 *db) {
    if (ch->known) return SQLITE_OK;
    int rc = get_place(ch, db, &ch->place, &ch->seen);
    if (rc == SQLITE_ROW) use_epoch(ch, &ch->place);
    ch->known = rc == SQLITE_ROW;
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

static int reach(struct changes *ch, sqlite3 *db, const struct place *p, uint64_t seen) {
    int rc = put_place(ch, db, p, seen);
    ch->known = rc == SQLITE_OK;
    ch->place = *p;
    ch->seen = seen;
    return rc;
}

/* --- entries --- */

static int put_entry(struct changes *ch, sqlite3 *db, uint64_t number, int kind, const void *key, size_t key_len,
                     const void *payload, size_t len) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_PUT_LOG);
    sqlite3_bind_int64(st, 1, (sqlite3_int64)number);
    sqlite3_bind_int64(st, 2, clock_wall_s());
    sqlite3_bind_int(st, 3, kind);
    sqlite3_bind_blob(st, 4, key, (int)key_len, SQLITE_STATIC);
    sqlite3_bind_blob(st, 5, payload, (int)len, SQLITE_STATIC);
    return db_run(st);
}

static int change_tile(struct changes *ch, sqlite3 *db, unsigned tile, const struct set_digest *gone,
                       const struct set_digest *come) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_GET_TILE);
    sqlite3_bind_int(st, 1, (int)tile);
    struct set_digest d = {0};
    int64_t records = 0;
    int rc = st ? sqlite3_step(st) : SQLITE_MISUSE;
    if (rc == SQLITE_ROW) {
        records = sqlite3_column_int64(st, 0);
        d = column_set_digest(st, 1);
    }
    sqlite3_reset(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return rc;
    if (gone) set_digest_take(&d, gone);
    if (come) set_digest_add(&d, come);
    records += (come != NULL) - (gone != NULL);
    st = statement(ch, db, records > 0 ? CHANGE_PUT_TILE : CHANGE_DROP_TILE);
    sqlite3_bind_int(st, 1, (int)tile);
    if (records <= 0) return db_run(st);
    sqlite3_bind_int64(st, 2, records);
    bind_set_digest(st, 3, &d);
    return db_run(st);
}

static const uint8_t *bytes_of(const struct buf *b) {
    return (const uint8_t *)b->data;
}

static int log_message(struct changes *ch, sqlite3 *db, enum record_kind kind, bool removed, const uint8_t *record,
                       size_t len, const struct place *p) {
    static const int entry_kinds[RECORD_KINDS] = {
        [RECORD_TAG] = ENTRY_TAG, [RECORD_BLOB] = ENTRY_BLOB, [RECORD_MANIFEST] = ENTRY_MANIFEST};
    size_t key_len = record_key_len(kind, record, len);
    struct watch_change c = {
        .number = p->number, .kind = kind, .removed = removed, .record = record, .len = removed ? key_len : len};
    struct watch_message m = {.has_place = true, .place = *p, .changes = &c, .n_changes = 1};
    buf_clear(&ch->message);
    if (watch_message_add(&ch->message, &m) < 0) return SQLITE_TOOBIG;
    return put_entry(ch, db, p->number, removed ? ENTRY_REMOVED : entry_kinds[kind], record, key_len, ch->message.data,
                     ch->message.len);
}

/* A record has changed: was and now are its bytes before and after, empty where there is none. If they are the same,
 * nothing is written. */
static int note(struct changes *ch, sqlite3 *db, enum record_kind kind, const struct buf *was, const struct buf *now,
                uint64_t *number) {
    if (was->len == now->len && (was->len == 0 || memcmp(was->data, now->data, was->len) == 0)) return SQLITE_OK;
    struct set_digest gone = {0}, come = {0};
    int rc = present(ch, db);
    if (rc) return rc;
    struct place p = ch->place;
    const struct buf *some = now->len ? now : was;
    if (was->len) record_hash(&ch->secret, kind, bytes_of(was), was->len, &gone);
    if (now->len) record_hash(&ch->secret, kind, bytes_of(now), now->len, &come);
    size_t key_len = record_key_len(kind, bytes_of(some), some->len);
    rc = change_tile(ch, db, record_tile(kind, bytes_of(some), key_len), was->len ? &gone : NULL,
                     now->len ? &come : NULL);
    if (was->len) set_digest_take(&p.digest, &gone);
    if (now->len) set_digest_add(&p.digest, &come);
    p.number = ch->seen + 1;
    if (rc == SQLITE_OK) rc = log_message(ch, db, kind, now->len == 0, bytes_of(some), some->len, &p);
    if (rc == SQLITE_OK) rc = reach(ch, db, &p, p.number);
    if (rc == SQLITE_OK) *number = p.number;
    return rc;
}

int changes_note_other(struct changes *ch, sqlite3 *db, int entry_kind, const struct digest *d, uint64_t *number) {
    int rc = present(ch, db);
    if (rc) return rc;
    const struct place p = ch->place;
    uint64_t n = ch->seen + 1;
    rc = put_entry(ch, db, n, entry_kind, d, (size_t)db_digest_len(d), "", 0);
    if (rc == SQLITE_OK) rc = reach(ch, db, &p, n);
    if (rc == SQLITE_OK) *number = n;
    return rc;
}

/* --- what changes --- */

/* A record that has no form is left empty: it is had by lookup. */
static void make(struct buf *out, int r) {
    if (r < 0) buf_clear(out);
}

int changes_blob(struct changes *ch, sqlite3 *db, const struct digest *d, int64_t was, int64_t now, uint64_t *number) {
    buf_clear(&ch->was);
    buf_clear(&ch->now);
    make(&ch->was, record_of_blob(&ch->was, d, was));
    make(&ch->now, record_of_blob(&ch->now, d, now));
    return note(ch, db, RECORD_BLOB, &ch->was, &ch->now, number);
}

static int read_children(struct changes *ch, sqlite3 *db, const struct digest *d, struct manifest *m) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_CHILDREN);
    size_t cap = 0;
    int rc;
    db_bind_digest(st, 1, d);
    while ((rc = st ? sqlite3_step(st) : SQLITE_MISUSE) == SQLITE_ROW && m->n_children <= RECORD_CHILDREN_MAX) {
        if (m->n_children == cap) {
            cap = cap ? 2 * cap : 16;
            m->children = xrealloc(m->children, cap, sizeof(*m->children));
        }
        rc = catalog_read_child(st, &m->children[m->n_children]);
        if (rc) break;
        m->n_children++;
    }
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Appends the record of a stored manifest; nothing if there is none. */
static int stored_manifest(struct changes *ch, sqlite3 *db, const struct digest *d, struct buf *out) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_MANIFEST);
    struct manifest m = {0};
    int64_t size = -1;
    db_bind_digest(st, 1, d);
    int rc = st ? sqlite3_step(st) : SQLITE_MISUSE;
    if (rc == SQLITE_ROW) {
        const char *type = (const char *)sqlite3_column_text(st, 0);
        snprintf(m.media_type, sizeof(m.media_type), "%s", type ? type : "");
        size = sqlite3_column_int64(st, 1);
    }
    sqlite3_reset(st);
    if (rc != SQLITE_ROW) return rc == SQLITE_DONE ? SQLITE_OK : rc;
    rc = read_children(ch, db, d, &m);
    if (rc == SQLITE_OK) make(out, record_of_manifest(out, d, size, &m));
    manifest_fini(&m);
    return rc;
}

int changes_manifest(struct changes *ch, sqlite3 *db, const struct digest *d, bool removed, uint64_t *number) {
    buf_clear(&ch->was);
    buf_clear(&ch->now);
    int rc = stored_manifest(ch, db, d, removed ? &ch->was : &ch->now);
    return rc ? rc : note(ch, db, RECORD_MANIFEST, &ch->was, &ch->now, number);
}

int changes_tag(struct changes *ch, sqlite3 *db, const struct repo_name *repo, const char *tag,
                const struct tag_facts *was, const struct tag_facts *now, uint64_t *number) {
    buf_clear(&ch->was);
    buf_clear(&ch->now);
    if (was) make(&ch->was, record_of_tag(&ch->was, repo, tag, was));
    if (now) make(&ch->now, record_of_tag(&ch->now, repo, tag, now));
    return note(ch, db, RECORD_TAG, &ch->was, &ch->now, number);
}

/* --- at the start --- */

struct count {
    struct set_digest digest;
    int64_t records;
};

static void count(struct changes *ch, struct count *tiles, enum record_kind kind, const struct buf *record) {
    struct set_digest d;
    if (!record->len) return;
    struct count *t = &tiles[record_tile(kind, bytes_of(record), record_key_len(kind, bytes_of(record), record->len))];
    record_hash(&ch->secret, kind, bytes_of(record), record->len, &d);
    set_digest_add(&t->digest, &d);
    t->records++;
}

static int count_digests(struct changes *ch, sqlite3 *db, struct count *tiles, enum change_stmt which) {
    sqlite3_stmt *st = statement(ch, db, which);
    int rc, bad = SQLITE_OK;
    while ((rc = st ? sqlite3_step(st) : SQLITE_MISUSE) == SQLITE_ROW && bad == SQLITE_OK) {
        struct digest d;
        if (!db_column_digest(st, 0, &d)) continue;
        buf_clear(&ch->now);
        if (which == CHANGE_ALL_BLOBS)
            make(&ch->now, record_of_blob(&ch->now, &d, sqlite3_column_int64(st, 1)));
        else
            bad = stored_manifest(ch, db, &d, &ch->now);
        count(ch, tiles, which == CHANGE_ALL_BLOBS ? RECORD_BLOB : RECORD_MANIFEST, &ch->now);
    }
    sqlite3_reset(st);
    return bad ? bad : rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int count_tags(struct changes *ch, sqlite3 *db, struct count *tiles) {
    sqlite3_stmt *st = statement(ch, db, CHANGE_ALL_TAGS);
    int rc;
    while ((rc = st ? sqlite3_step(st) : SQLITE_MISUSE) == SQLITE_ROW) {
        struct wire_tag t;
        if (!catalog_read_tag(st, &t)) continue;
        buf_clear(&ch->now);
        make(&ch->now, record_of_tag(&ch->now, &t.repo, t.tag, &t.facts));
        count(ch, tiles, RECORD_TAG, &ch->now);
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int put_tiles(struct changes *ch, sqlite3 *db, const struct count *tiles, struct set_digest *all) {
    int rc = db_run(statement(ch, db, CHANGE_DROP_TILES));
    for (unsigned i = 0; i < TILES && rc == SQLITE_OK; i++) {
        if (!tiles[i].records) continue;
        sqlite3_stmt *st = statement(ch, db, CHANGE_PUT_TILE);
        sqlite3_bind_int(st, 1, (int)i);
        sqlite3_bind_int64(st, 2, tiles[i].records);
        bind_set_digest(st, 3, &tiles[i].digest);
        rc = db_run(st);
        set_digest_add(all, &tiles[i].digest);
    }
    return rc;
}

/* A new epoch, over what there is. */
static int begin_anew(struct changes *ch, sqlite3 *db) {
    struct place p = {.number = last_entry(ch, db)};
    if (getrandom(p.epoch, EPOCH_BYTES, 0) != EPOCH_BYTES) return SQLITE_INTERNAL;
    use_epoch(ch, &p);
    struct count *tiles = xcalloc(TILES, sizeof(*tiles));
    int rc = count_digests(ch, db, tiles, CHANGE_ALL_BLOBS);
    if (rc == SQLITE_OK) rc = count_digests(ch, db, tiles, CHANGE_ALL_MANIFESTS);
    if (rc == SQLITE_OK) rc = count_tags(ch, db, tiles);
    if (rc == SQLITE_OK) rc = put_tiles(ch, db, tiles, &p.digest);
    /* Entries of an older version say something else. */
    if (rc == SQLITE_OK) rc = db_run(statement(ch, db, CHANGE_DROP_LOG));
    if (rc == SQLITE_OK) rc = put_place(ch, db, &p, p.number);
    free(tiles);
    return rc;
}

int changes_begin(struct changes *ch, sqlite3 *db) {
    struct place p;
    uint64_t seen = 0;
    char text[PLACE_TEXT_MAX];
    int rc = get_place(ch, db, &p, &seen);
    if (rc == SQLITE_ROW && seen == last_entry(ch, db)) {
        use_epoch(ch, &p);
        return SQLITE_OK;
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return rc;
    bool had = rc == SQLITE_ROW;
    rc = begin_anew(ch, db);
    if (rc == SQLITE_OK && had && get_place(ch, db, &p, &seen) == SQLITE_ROW)
        log_warn("catalog_epoch_new", KV_S("place", place_short(&p, text)),
                 KV_S("why", "the file was changed by a version that keeps no digests, or its log was"));
    return rc;
}
