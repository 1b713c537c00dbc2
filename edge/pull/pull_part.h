/* The part that gives an edge its policy, sources and ledger: central's settings decide names, misses go to central,
 * and central's catalogue is asked about every fill. Thread: control, but for what node_part.h says otherwise. */
#ifndef ENTREPOT_PULL_PULL_PART_H
#define ENTREPOT_PULL_PULL_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_pull;

#endif
