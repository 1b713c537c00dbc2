/* Makes the catalogue agree with the store. They differ after a crash between the writes to both, or when the catalogue
 * was begun anew. Held blobs are not fetched again, so they would never be learned otherwise. Thread: work pool. */
#ifndef ENTREPOT_CATALOG_RELEARN_H
#define ENTREPOT_CATALOG_RELEARN_H

#include "central/catalog/catalog.h"
#include "common/oci/resolve.h"
#include "common/store/store.h"

/* Blocks until everything held, and every tag, was compared, and what the catalogue lacks has come through the door, to
 * which it listens. Piece proofs are not made again: that would read every byte. */
void catalog_relearn(struct catalog *c, struct content *door, struct store *s, const struct name_rules *rules);

#endif
