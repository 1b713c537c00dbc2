/* Pulls by repository and tag of the whole fleet, in reports.db, and which batches of each edge were taken: one that is
 * told again counts once, also over a restart of either side. Thread: the writer of reports, but for what is marked. */
#ifndef ENTREPOT_CENTRAL_REPORTS_PULLS_H
#define ENTREPOT_CENTRAL_REPORTS_PULLS_H

#include <jansson.h>

#include "common/db/db.h"
#include "common/wire/edge_report.h"

struct pulls;
extern const char pulls_schema[];

/* names_max: that are counted apart; the least pulled ones are merged. */
struct pulls *pulls_new(unsigned names_max);
/* When the connection that wrote is closed. */
void pulls_free(struct pulls *p);

/* Before anything is written, on any thread. */
int pulls_read(struct pulls *p, sqlite3 *db, struct error *err) must_check;
/* Takes a batch, unless it was taken before: all of it or nothing, whatever else is in the transaction. edge: the number
 * of its row. *taken: the last batch of that epoch that is taken then; *added: pulls that were added. */
int pulls_take(struct pulls *p, sqlite3 *db, int64_t edge, const struct wire_pulls *w, uint64_t *taken,
               int64_t *added) must_check;
/* An edge was removed; its pulls stay counted. An SQLite result code. */
int pulls_forget(struct pulls *p, sqlite3 *db, int64_t edge) must_check;

/* After a commit: so many are in the file. Any thread. */
void pulls_added(struct pulls *p, int64_t n);
int64_t pulls_total(const struct pulls *p);

/* Any thread that may block, with a connection of its own. repo NULL: of all. {"total","other","most":
 * [{"repository","tag","pulls"}]}, the most pulled first. */
int pulls_json(sqlite3 *db, const char *repo, int max, json_t **out) must_check;

#endif
