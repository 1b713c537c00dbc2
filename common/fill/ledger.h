/* The interface to what is known of a digest before its bytes are here. Fills ask it; a part of the node gives it
 * (central's catalogue, or an edge's lookups at central). What is learned goes the other way: content/content.h.
 * Thread: the fetch loop. */
#ifndef ENTREPOT_FILL_LEDGER_H
#define ENTREPOT_FILL_LEDGER_H

#include "common/fill/fill.h"

struct ledger {
    /* Fetch loop; see fill_engine_config.ask_catalogue: fill_advise must follow exactly once. */
    void (*ask_catalogue)(struct fill *f, const struct fill_spec *spec, void *arg);
    void *arg;
};

#endif
