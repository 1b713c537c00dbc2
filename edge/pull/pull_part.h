/* The part that gives an edge its policy, sources and ledger: central's settings decide names, misses go to central,
 * and central's catalogue is asked about every fill. Thread: control, but for what node_part.h says otherwise. */
#ifndef ENTREPOT_PULL_PULL_PART_H
#define ENTREPOT_PULL_PULL_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_pull;

struct repo_name;
/* In start and stop: fn is told, on any thread, of each tag that somebody was told. One is enough; NULL: none. */
void pull_on_asked(const struct node *n, void (*fn)(const struct repo_name *repo, const char *tag, void *arg),
                   void *arg);

#endif
