/* Shared by the catalogue's files: the object, its schema's keys, and statements prepared once a connection. */
#ifndef ENTREPOT_CATALOG_PRIVATE_H
#define ENTREPOT_CATALOG_PRIVATE_H

#include "central/catalog/catalog.h"
#include "common/db/writer.h"

#include <pthread.h>

enum read_stmt { READ_BLOB, READ_MANIFEST, READ_CHILDREN, READ_CLAIMED, READ_PROOFS, READ_TAGS, READ_HELD, READ_COUNT };
/* A read-only connection; used by one thread at a time. */
struct reader {
    sqlite3 *db;
    sqlite3_stmt *st[READ_COUNT];
    struct reader *next;
};

struct write_stmts; /* learn.c; the writer thread only */
struct prune;       /* catalog_prune.c; the writer thread only */
struct catalog {
    struct writer *writer;
    struct write_stmts *stmts;
    struct prune *prune;
    int64_t limit; /* of the file; fixed before anything is learned */
    _Atomic int64_t bytes, pruned;
    atomic_bool closing;          /* tells a pass of pruning to end */
    _Atomic uint64_t sequence;    /* of what is durable */
    _Atomic int64_t queued_bytes; /* memory of facts on their way to the writer */
    _Atomic int64_t learned, dropped, failed, lookups;
    atomic_bool damage_seen; /* the suspect mark was written */
    pthread_mutex_t lock;    /* guards the free readers; held for a few instructions */
    pthread_cond_t some;
    struct reader *free_readers;
    struct reader *readers; /* array; fixed after open */
    unsigned n_readers;
    char *path;
};

int reader_open(struct catalog *c, struct reader *r, struct error *err) must_check;
void reader_close(struct reader *r);
void write_stmts_free(struct write_stmts *s);
struct prune *prune_new(struct catalog *c);
void prune_free(struct prune *p);
/* The writer thread, within a transaction: looks at the file's size now and then, and has the writer make room. */
void prune_look(struct prune *p, sqlite3 *db);
/* How many entries the change log keeps. */
int64_t catalog_log_keep(const struct catalog *c);
/* Leaves a mark beside the file, so that the next start checks all of it. Any thread. */
void catalog_suspect(struct catalog *c, int sqlite_code);

#endif
