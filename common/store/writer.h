/* A thread that owns one SQLite write connection and runs queued jobs in batched transactions. The store's index and
 * central's catalogue each have one. Thread: any for writer_submit; jobs run on the writer. */
#ifndef ENTREPOT_STORE_WRITER_H
#define ENTREPOT_STORE_WRITER_H

#include <sqlite3.h>

#include "common/core/error.h"

struct writer;

/* Embedded in the object it concerns. run is called inside a transaction; after_commit (may be NULL) once that
 * transaction is durable (code 0) or has failed (negative), on the writer thread; it frees the job if it was allocated.
 */
struct writer_job {
    void (*run)(struct writer_job *job, sqlite3 *db);
    void (*after_commit)(struct writer_job *job, int code);
    struct writer_job *next;
};

/* Opens (WAL, synchronous=NORMAL, busy_timeout), runs schema, starts the thread. Batches whatever is queued, at most
 * `batch` jobs a transaction. */
int writer_open(struct writer **out, const char *path, const char *schema_sql, unsigned batch,
                struct error *err) must_check;
void writer_submit(struct writer *w, struct writer_job *job);
/* Waits until everything submitted before is durable. Not on the writer thread. */
void writer_flush(struct writer *w);
/* Another, read-only connection to the same file; the caller closes it. */
int writer_reader(struct writer *w, sqlite3 **out, struct error *err) must_check;
/* Runs what is queued, then closes; statements that jobs left prepared are finalised here. */
void writer_close(struct writer *w);

/* The connection's last failure in our convention: 0 when there is none. Its thread. */
int writer_error_code(sqlite3 *db);
/* The same for a person: "doing: what SQLite says", with a hint where there is one. */
int writer_error(sqlite3 *db, struct error *err, const char *doing);

#endif
