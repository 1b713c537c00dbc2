/* The rows are in a map under a lock that is held for a look-up and a copy. Thread: any. */
#include "central/reports/rows.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/map.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Reports are counted in thousandths, so that what a millisecond earns is a whole number. */
#define REPORT_COST 1000
#define CREDIT_MAX (REPORTS_AT_ONCE * REPORT_COST)

struct row {
    struct report_row said;
    int64_t credit, credit_ms; /* thousandths of a report it may send; as of when */
};

struct report_rows {
    pthread_mutex_t lock;
    struct map *rows; /* name -> struct row */
};

struct report_rows *report_rows_new(void) {
    struct report_rows *r = xcalloc(1, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
    r->rows = map_new(free);
    return r;
}

void report_rows_free(struct report_rows *r) {
    if (!r) return;
    map_free(r->rows);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct row *row_of(struct report_rows *r, const struct member *who, int64_t now_ms) {
    struct row *row = map_get_s(r->rows, who->name);
    if (row) return row;
    row = xcalloc(1, sizeof(*row));
    snprintf(row->said.name, sizeof(row->said.name), "%s", who->name);
    row->credit = CREDIT_MAX;
    row->credit_ms = now_ms;
    map_set_s(r->rows, who->name, row);
    return row;
}

static bool pay(struct row *row, int64_t now_ms) {
    int64_t earned = (now_ms - row->credit_ms) * REPORTS_PER_S;
    row->credit = earned > CREDIT_MAX - row->credit ? CREDIT_MAX : row->credit + earned;
    row->credit_ms = now_ms;
    if (row->credit < REPORT_COST) return false;
    row->credit -= REPORT_COST;
    return true;
}

int report_rows_take(struct report_rows *r, const struct member *who, const struct wire_heartbeat *beat,
                     struct report_row *out) {
    int64_t now_ms = clock_mono_ms();
    int code = 0;
    pthread_mutex_lock(&r->lock);
    struct row *row = row_of(r, who, now_ms);
    if (pay(row, now_ms)) {
        snprintf(row->said.site, sizeof(row->said.site), "%s", who->site);
        row->said.beat = *beat;
        row->said.heard_ms = now_ms;
        row->said.count++;
        *out = row->said;
    } else {
        code = ERR_BUSY;
    }
    pthread_mutex_unlock(&r->lock);
    return code;
}

bool report_rows_get(struct report_rows *r, const char *name, struct report_row *out) {
    pthread_mutex_lock(&r->lock);
    const struct row *row = map_get_s(r->rows, name);
    bool heard = row && row->said.count > 0;
    if (heard) *out = row->said;
    pthread_mutex_unlock(&r->lock);
    return heard;
}
