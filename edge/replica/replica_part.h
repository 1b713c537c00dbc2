/* The part that holds this edge's copy of central's catalogue and keeps it equal. The watch itself is pull's, which uses
 * it for the settings, too. Thread: as node_part.h says. */
#ifndef ENTREPOT_EDGE_REPLICA_PART_H
#define ENTREPOT_EDGE_REPLICA_PART_H

#include "common/node/node_part.h"
#include "edge/replica/follow.h"

extern const struct node_part part_replica;

/* Valid once the part has started. */
struct replica *replica_of(const struct node *n);
struct follow *follow_of(const struct node *n);
/* In start: restart(arg) ends the watch and begins another. */
void replica_on_restart(const struct node *n, void (*restart)(void *arg), void *arg);
/* In start and stop: dns(what, arg) is called on the fetch loop as in struct follow_config. One is enough; NULL: none. */
void replica_on_dns(const struct node *n, void (*dns)(const struct watch_dns *told, void *arg), void *arg);
/* Any thread: counts an answer that the replica gave without asking central. */
void replica_answered(const struct node *n);

/* Any thread. Where a tag pointed when the stream of changes was last heard, in this life or an earlier one; checked_at:
 * when central last checked it, but for what is hosted, which central knows at any time, when it was heard. False: it
 * is not known. */
bool replica_last_tag(const struct node *n, const struct repo_name *repo, const char *tag, struct tag_facts *t);

#endif
