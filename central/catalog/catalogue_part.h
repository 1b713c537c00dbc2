/* The part that keeps central's catalogue. It is told of everything that is learned or lost, and asked when a fill
 * begins. Thread: control, but for what node_part.h says otherwise. */
#ifndef ENTREPOT_CATALOG_CATALOGUE_PART_H
#define ENTREPOT_CATALOG_CATALOGUE_PART_H

#include "central/catalog/catalog.h"
#include "common/node/node_part.h"

extern const struct node_part part_catalogue;
/* Once the part has started. */
struct catalog *catalogue_of(const struct node *n);

#endif
