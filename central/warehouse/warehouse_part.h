/* Hosted repositories as a part of central: what is hosted is said to the store again after its index was lost, and
 * images are loaded. */
#ifndef ENTREPOT_WAREHOUSE_WAREHOUSE_PART_H
#define ENTREPOT_WAREHOUSE_WAREHOUSE_PART_H

#include "common/node/part.h"

extern const struct part part_warehouse;

#endif
