/* A request's way from name to bytes as a part of an edge: names mean what central's settings say, misses go to
 * central, and its catalogue is asked about every fill. */
#ifndef ENTREPOT_PULL_PULL_PART_H
#define ENTREPOT_PULL_PULL_PART_H

#include "common/node/part.h"

extern const struct part part_pull;

#endif
