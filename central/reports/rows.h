/* What each edge has reported last, in memory: one row for each edge of the fleet that has reported since the start. The
 * name and site of a row are its certificate's. Thread: any. */
#ifndef ENTREPOT_CENTRAL_REPORTS_ROWS_H
#define ENTREPOT_CENTRAL_REPORTS_ROWS_H

#include "common/identity/member.h"
#include "common/wire/edge_report.h"

struct report_row {
    char name[MEMBER_NAME_MAX], site[MEMBER_NAME_MAX];
    struct wire_heartbeat beat;
    int64_t heard_ms; /* when it came, monotonic */
    uint64_t count;   /* reports taken */
};

struct report_rows;
struct report_rows *report_rows_new(void);
void report_rows_free(struct report_rows *r);

/* How many reports one edge may send at once, and how many in a second in the long run. */
#define REPORTS_AT_ONCE 20
#define REPORTS_PER_S 10
/* Counts a report of this edge, which must be of the roster: so there are no more rows than the roster has edges. *out
 * is its row then. ERR_BUSY: it sends too many; nothing is taken. */
int report_rows_take(struct report_rows *r, const struct member *who, const struct wire_heartbeat *beat,
                     struct report_row *out) must_check;
/* False: it has not reported since the start. */
bool report_rows_get(struct report_rows *r, const char *name, struct report_row *out);

#endif
