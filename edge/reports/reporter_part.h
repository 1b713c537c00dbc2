/* The part that reports to central how this edge is. Thread: control, unless a function says otherwise. */
#ifndef ENTREPOT_EDGE_REPORTS_REPORTER_PART_H
#define ENTREPOT_EDGE_REPORTS_REPORTER_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_reporter;

#endif
