/* What is known of content beside its bytes, and who is told of what was learned. Fills, the registry and the store
 * need it; the part of a node that keeps such knowledge gives it (central's catalogue, an edge's lookups at central).
 * Every function may be NULL. */
#ifndef ENTREPOT_FILL_LEDGER_H
#define ENTREPOT_FILL_LEDGER_H

#include "common/fill/fill.h"
#include "common/store/tag.h"

struct ledger {
    /* Fetch loop; see fill_engine_config.ask_catalogue: fill_advise must follow exactly once. */
    void (*ask_catalogue)(struct fill *f, const struct fill_spec *spec, void *arg);
    /* Fetch loop; see fill_engine_config.learned. */
    void (*learned)(const struct fill_spec *spec, int64_t size, const char *media_type, const uint8_t *proofs,
                    size_t n_proofs, const void *data, size_t len, void *arg);
    /* Serving or fetch loop: a tag was learned or confirmed. */
    void (*learned_tag)(const struct repo_name *repo, const char *tag, const struct tag_record *rec, void *arg);
    /* Index writer, with a lock held: a blob is not held any more. It must not block. */
    void (*lost)(const struct digest *d, void *arg);
    void *arg;
};

#endif
