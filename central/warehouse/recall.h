/* Gives the store back what is hosted, after its index was made anew: tags from the catalogue, and of what they name,
 * down to the last layer, that it is hosted and in which repository. Thread: control, before anybody is served. */
#ifndef ENTREPOT_WAREHOUSE_RECALL_H
#define ENTREPOT_WAREHOUSE_RECALL_H

#include "central/catalog/catalog.h"
#include "common/oci/resolve.h"
#include "common/store/store.h"

struct recall_report {
    bool blind; /* neither index nor catalogue can tell of all hosted tags: there may have been others */
    int64_t tags, blobs;
    int64_t incomplete; /* tags of which something is not here any more */
    int code;           /* 0, or why not all could be told to the store: nothing may be evicted yet */
};

/* Blocks: it reads every hosted manifest. What is missing is logged.
 * The caller says store_recall_done unless code says otherwise. */
void hosted_recall(struct catalog *c, struct store *s, const struct name_rules *rules, struct recall_report *out);

#endif
