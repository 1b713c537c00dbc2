/* The part that takes the edges' reports, and tells what they say. Thread: control, unless a function says otherwise. */
#ifndef ENTREPOT_CENTRAL_REPORTS_REPORTS_PART_H
#define ENTREPOT_CENTRAL_REPORTS_REPORTS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_reports;

#endif
