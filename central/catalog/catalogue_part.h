/* The catalogue as a part of central: it is told of all that is learned and lost, and asked when a fill begins. */
#ifndef ENTREPOT_CATALOG_CATALOGUE_PART_H
#define ENTREPOT_CATALOG_CATALOGUE_PART_H

#include "central/catalog/catalog.h"
#include "common/node/part.h"

extern const struct part part_catalogue;
/* Once the part has started. */
struct catalog *catalogue_of(const struct node *n);

#endif
