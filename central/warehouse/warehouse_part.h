/* The part for hosted repositories: loads images, keeps their record, and tells the store what is hosted. Thread:
 * control. */
#ifndef ENTREPOT_WAREHOUSE_WAREHOUSE_PART_H
#define ENTREPOT_WAREHOUSE_WAREHOUSE_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_warehouse;

#endif
