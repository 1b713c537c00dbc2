/* Fills the record of hosted images (hosted.h) from index.db and catalog.db: once for a data folder without a record,
 * and after the record was damaged or lost. Thread: control, before anybody is served. */
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

/* True if this name, as stored, is a hosted repository under the current rules. */
bool hosted_is_repo(const struct name_rules *rules, const char *name);
/* Does the takeover if it is due. Adds the tags of hosted repositories from index and catalogue, everything they refer
 * to (read from the manifests in the folder), and every blob that the index flags as hosted. Blocks while it reads
 * those manifests. On failure the record has in memory what was found, the next start tries again, and nothing is
 * evicted until then; the failure is logged. */
void hosted_take_over(const struct takeover *t);
/* Call at each start: adds blobs that the index flags as hosted and the record does not have, as after an older record
 * was put back. Then the index's tags of hosted repositories that name such manifests, or that the record lacks and
 * that name what is hosted in their repository, are added, too, and a doubt is told (hosted_doubt): more may be lost.
 * When the index was lost, a doubt is also told if the catalogue has tags of hosted repositories that the record does
 * not. */
void hosted_claim_flagged(const struct takeover *t);

#endif
