/* The part that takes the edges' reports, and tells what they say. Thread: control, unless a function says otherwise. */
#ifndef ENTREPOT_CENTRAL_REPORTS_REPORTS_PART_H
#define ENTREPOT_CENTRAL_REPORTS_REPORTS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_reports;

struct report_row; /* central/reports/rows.h */
/* In start and stop: fn is told of each report that is taken, with the edge's row, on a serving loop; it must not block.
 * One is enough; NULL: none. */
void reports_on_heard(const struct node *n, void (*fn)(const struct report_row *row, void *arg), void *arg);

#endif
