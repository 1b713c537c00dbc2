/* A thread that owns one SQLite write connection and runs queued jobs in batched transactions. The store's index and
 * central's catalogue each have one. Thread: any for writer_submit; jobs run on the writer. */
#ifndef ENTREPOT_DB_WRITER_H
#define ENTREPOT_DB_WRITER_H

#include "common/db/db.h"

struct writer;

/* Embedded in the object it concerns. run is called inside a transaction; after_commit (may be NULL) once that
 * transaction is in the file (code 0) or has failed (negative), on the writer thread; it frees the job if it was
 * allocated. What is in the file outlives the process; to outlive a power cut it needs writer_sync. */
struct writer_job {
    void (*run)(struct writer_job *job, sqlite3 *db);
    void (*after_commit)(struct writer_job *job, int code);
    bool persists; /* a full disk does not end it: it is run again until there is room, or the writer closes. run
                      writes what is true by then */
    bool synced;   /* after_commit is called when it is safe from a power cut, with all that was submitted before */
    bool waits;    /* the writer's */
    struct writer_job *next;
};

/* Opens (WAL, synchronous=NORMAL, busy_timeout), runs schema, starts the thread under that name. Batches whatever is
 * queued, at most `batch` jobs a transaction. */
int writer_open(struct writer **out, const char *path, const char *thread, const char *schema_sql, unsigned batch,
                struct error *err) must_check;
void writer_submit(struct writer *w, struct writer_job *job);
/* Waits until everything submitted before has been run. Not on the writer thread. */
void writer_flush(struct writer *w);
/* The same, and it is safe from a power cut: costs a disk's sync if anything was written since the last one. 0, or what
 * the disk said. */
int writer_sync(struct writer *w);
/* Another, read-only connection to the same file; the caller closes it. */
int writer_reader(struct writer *w, sqlite3 **out, struct error *err) must_check;
/* Runs what is queued, then closes; statements that jobs left prepared are finalised here. */
void writer_close(struct writer *w);

#endif
