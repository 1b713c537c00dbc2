/* Where content comes from. Fills and the registry's questions to sources need it; the part of a node that has sources
 * gives it (central's upstreams, an edge's link to central). Thread: the fetch loop. */
#ifndef ENTREPOT_SOURCE_SUPPLY_H
#define ENTREPOT_SOURCE_SUPPLY_H

#include "common/source/source.h"

#define SOURCES_MAX 8

struct supply {
    /* Whom to ask about a repository, in order. Returns their number; 0: nobody (hosted here). */
    unsigned (*sources)(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg);
    void *arg;
};

#endif
