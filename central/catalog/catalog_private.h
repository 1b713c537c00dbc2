/* Shared by the catalogue's files: the object, its schema's keys, and statements prepared once a connection. */
#ifndef ENTREPOT_CATALOG_PRIVATE_H
#define ENTREPOT_CATALOG_PRIVATE_H

#include "central/catalog/catalog.h"
#include "common/db/writer.h"
#include "common/records/place.h"
#include "common/wire/wire.h"

#include <pthread.h>

/* Kinds of entries in the table `log`. Those of HELD and LOST change no record, so replicas are not told of them. */
enum entry_kind {
    ENTRY_BLOB = 1,
    ENTRY_MANIFEST = 2,
    ENTRY_TAG = 3,
    ENTRY_LOST = 4,
    ENTRY_HELD = 5,
    ENTRY_REMOVED = 6
};

enum read_stmt {
    READ_BLOB,
    READ_MANIFEST,
    READ_CHILDREN,
    READ_CLAIMED,
    READ_PROOFS,
    READ_TAGS,
    READ_HELD,
    READ_PLACE,
    READ_TILES,
    READ_TILE,
    READ_LOG,
    READ_LOG_FIRST,
    READ_LOG_AT,
    READ_BLOBS_FROM,
    READ_MANIFESTS_FROM,
    READ_COUNT
};
/* A read-only connection; used by one thread at a time. */
struct reader {
    sqlite3 *db;
    sqlite3_stmt *st[READ_COUNT];
    struct reader *next;
};

struct write_stmts; /* learn.c; the writer thread only */
struct prune;       /* catalog_prune.c; the writer thread only */
struct changes;     /* changes.c; the writer thread only */
struct catalog {
    struct writer *writer;
    struct write_stmts *stmts;
    struct prune *prune;
    struct changes *changes;
    int64_t log_entries;         /* that the log keeps at most; fixed before anything is learned */
    pthread_mutex_t follow_lock; /* guards the follower, and is held while it is called */
    struct catalog_follower follower;
    uint64_t trimmed_at; /* the change log's number when it was last cut; the writer thread only */
    int64_t limit;       /* of the file; fixed before anything is learned */
    _Atomic int64_t bytes, pruned;
    atomic_bool closing;          /* tells a pass of pruning to end */
    _Atomic uint64_t sequence;    /* of what is durable */
    _Atomic int64_t queued_bytes; /* memory of facts on their way to the writer */
    _Atomic int64_t learned, dropped, failed, lookups;
    atomic_bool missed; /* facts that the disk did not take */
    void (*recovered)(void *arg);
    void *recovered_arg;
    atomic_bool damage_seen; /* the suspect mark was written */
    pthread_mutex_t lock;    /* guards the free readers; held for a few instructions */
    pthread_cond_t some;
    struct reader *free_readers;
    struct reader *readers; /* array; fixed after open */
    unsigned n_readers;
    char *path;
};

/* Any thread, but the one at a time that uses them. */
struct reader *catalog_take_reader(struct catalog *c);
void catalog_give_reader(struct catalog *c, struct reader *r);
/* Where the log is. An SQLite result code. */
int catalog_read_place(struct reader *r, struct place *out);
/* What such a code means: 0, ERR_CORRUPT or ERR_INTERNAL. Damage is noted. */
int catalog_read_code(struct catalog *c, int rc);
/* Reads a row of `child, size, kind, is_foreign, os, arch, variant`. An SQLite result code. */
int catalog_read_child(sqlite3_stmt *st, struct manifest_child *c);
/* Reads a row of `repo, tag, digest, size, media_type, checked_at, deleted, hosted`. False: it is not sound. */
bool catalog_read_tag(sqlite3_stmt *st, struct wire_tag *t);
int reader_open(struct catalog *c, struct reader *r, struct error *err) must_check;
void reader_close(struct reader *r);
void write_stmts_free(struct write_stmts *s);
struct prune *prune_new(struct catalog *c);
void prune_free(struct prune *p);
/* The writer thread, within a transaction: looks at the file's size now and then, and has the writer make room. */
void prune_look(struct prune *p, sqlite3 *db);
/* The writer thread, after a commit: what replicas follow has changed. */
void catalog_changed(struct catalog *c, uint64_t number);
/* How many entries the change log keeps. */
int64_t catalog_log_keep(const struct catalog *c);
/* The writer thread, within a transaction, once the log has come to this number: removes what it does not keep, if it
 * has grown enough since the last time. An SQLite result code. */
int catalog_trim_log(struct catalog *c, sqlite3 *db, uint64_t sequence);
/* Leaves a mark beside the file, so that the next start checks all of it. Any thread. */
void catalog_suspect(struct catalog *c, int sqlite_code);

#endif
