/* The interface to the sources of a repository. Fills and the registry's questions need it; a part of the node gives it
 * (central's upstreams, or an edge's link to central). Thread: the fetch loop. */
#ifndef ENTREPOT_SOURCE_SUPPLY_H
#define ENTREPOT_SOURCE_SUPPLY_H

#include "common/source/source.h"

#define SOURCES_MAX 8

struct supply {
    /* The sources of a repository, in the order to ask them. Returns their number; 0: none (it is hosted here). */
    unsigned (*sources)(const struct repo_name *repo, struct source *out[SOURCES_MAX], void *arg);
    void *arg;
};

#endif
