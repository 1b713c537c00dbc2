/* Filling the record of what is hosted (hosted.h) from what index.db and catalog.db know: once for a data folder that
 * has no record yet, and when the record was damaged or lost. Thread: control, before anybody is served. */
#ifndef ENTREPOT_WAREHOUSE_TAKEOVER_H
#define ENTREPOT_WAREHOUSE_TAKEOVER_H

#include "central/catalog/catalog.h"
#include "central/warehouse/hosted.h"
#include "common/oci/resolve.h"

struct takeover {
    struct hosted *record;
    struct store *store;
    struct catalog *catalog;
    const struct name_rules *rules;
    const char *dir; /* the data folder */
};

/* Is this name, as stored, a hosted repository under the rules in force? */
bool hosted_is_repo(const struct name_rules *rules, const char *name);
/* If it is due: tags of hosted repositories, from the index and from the catalogue, and all they name, from the
 * manifests in the folder down; and whatever blob the index says is hosted. Blocks: it reads those manifests. On
 * failure the record knows in memory what was found, the next start tries again, and nothing is evicted till then; it
 * is logged. */
void hosted_take_over(const struct takeover *t);
/* At each start: blobs that the index says are hosted and the record does not know are added to it. An older record was
 * put back, or somebody has set the flag; neither is a reason to let them go. */
void hosted_claim_flagged(const struct takeover *t);

#endif
