/* The part for hosted repositories: loads images, keeps their record, and tells the store what is hosted. Thread:
 * control. */
#ifndef ENTREPOT_WAREHOUSE_WAREHOUSE_PART_H
#define ENTREPOT_WAREHOUSE_WAREHOUSE_PART_H

#include "common/node/part.h"

extern const struct part part_warehouse;

#endif
