/* Which blobs each edge holds, as rows of reports.db: `blobs` has the digest of each number, `held` a row for each edge
 * and each 4,096 numbers: those it holds as a list of 16 bits each, or as a bit for each where that is shorter. A change
 * of one blob writes half a KiB at most. Thread: the writer of reports, but for what is marked. */
#ifndef ENTREPOT_CENTRAL_REPORTS_HELD_ROWS_H
#define ENTREPOT_CENTRAL_REPORTS_HELD_ROWS_H

#include "central/reports/holdings.h"
#include "common/db/db.h"

#include <stdatomic.h>

struct held_rows;
extern const char held_rows_schema[];

struct held_rows *held_rows_new(struct holdings *h);
/* When the connection that wrote is closed. */
void held_rows_free(struct held_rows *r);

struct held_reading {
    sqlite3 *db;
    struct holdings *into; /* that nobody else uses yet */
    bool (*is_gone)(const char *edge, void *arg);
    void *arg;
    const atomic_bool *stop; /* true: reading ends with -ECANCELED */
};
/* Before anything is written, on any thread: reads all. Edges for which is_gone says true are left out, and removed by
 * held_rows_forget. dirty: numbers whose rows nobody needs. */
int held_rows_read(struct held_rows *r, const struct held_reading *how, struct holdings_dirty *dirty,
                   struct error *err) must_check;
/* Writes what has changed; e: whose parts, NULL: nobody's. */
int held_rows_write(struct held_rows *r, sqlite3 *db, const struct holder *e,
                    const struct holdings_dirty *dirty) must_check;
/* also: what else is to be dropped with the row of that number; returns an SQLite result code. */
int held_rows_forget(struct held_rows *r, sqlite3 *db, int (*also)(int64_t edge, sqlite3 *db, void *arg),
                     void *arg) must_check;
/* The number of an edge's row, which is made if there is none; 0: it could not be. */
int64_t held_rows_edge(struct held_rows *r, sqlite3 *db, const char *name, const char *site);

/* A part as it is stored, and back. Pure. out has room for HELD_PART_BYTES. The second returns the number of numbers, in
 * order; SIZE_MAX: the bytes are none. */
#define HELD_PART_BYTES (HOLDINGS_PART / 8)
size_t held_part_pack(const uint16_t *within, size_t n, uint8_t out[HELD_PART_BYTES]);
size_t held_part_unpack(const uint8_t *bytes, size_t len, uint16_t within[HOLDINGS_PART]);

#endif
