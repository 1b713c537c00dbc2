/* A thread that owns one SQLite write connection and runs queued jobs in batched transactions. The store's index and
 * central's catalogue each have one. Thread: any, but not the writer's own unless a function says so; jobs run on the
 * writer. */
#ifndef ENTREPOT_DB_WRITER_H
#define ENTREPOT_DB_WRITER_H

#include "common/db/db.h"

struct writer;

/* Embedded in the object it concerns. run is called inside a transaction. after_commit (may be NULL) is called on the
 * writer thread, with code 0 once the transaction is in the file, or with a negative enum err if it has failed. It
 * frees the job if the job was allocated. What is in the file outlives the process; to outlive a power cut it needs
 * writer_sync. */
struct writer_job {
    void (*run)(struct writer_job *job, sqlite3 *db);
    void (*after_commit)(struct writer_job *job, int code);
    bool
        persists; /* run again when the disk is full, read-only or fails, until it takes it; run must write what is true
                    * by then */
    bool synced;  /* after_commit is called once this job and all jobs submitted before are safe from a power cut */
    bool waits;   /* private to the writer */
    int said;     /* private to the writer */
    struct writer_job *next;
};

/* Opens the file (WAL, synchronous=NORMAL, busy_timeout), runs the schema and starts a thread of the name `thread`.
 * Runs at most `batch` jobs in a transaction. */
int writer_open(struct writer **out, const char *path, const char *thread, const char *schema_sql, unsigned batch,
                struct error *err) must_check;
/* Any thread, also the writer's. Never blocks on the disk. job must live until its after_commit. */
void writer_submit(struct writer *w, struct writer_job *job);
/* Any thread. Why jobs that persist wait at this moment, a negative enum err; 0: none does. */
int writer_refusal(const struct writer *w);
/* Blocks until everything submitted before has been run. */
void writer_flush(struct writer *w);
/* The same, and syncs it to the disk if anything was written since the last sync. 0 or a negative enum err. */
int writer_sync(struct writer *w);
/* Opens a read-only connection to the same file. The caller closes it. */
int writer_reader(struct writer *w, sqlite3 **out, struct error *err) must_check;
/* Runs the queued jobs, finalises statements that jobs have prepared, and closes. */
void writer_close(struct writer *w);

#endif
