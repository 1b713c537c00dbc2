/* The part that decides what a name means on central, by its configuration, and is the node's policy. Thread: any
 * (immutable). */
#ifndef ENTREPOT_NAMES_NAMES_PART_H
#define ENTREPOT_NAMES_NAMES_PART_H

#include "central/config/central_config.h"
#include "common/node/node_part.h"

extern const struct node_part part_names;
/* The rules. Valid once the part has started. */
const struct name_rules *names_rules(const struct node *n);
/* Control thread, before loops run: sets the version of the settings that edges get, which these rules are part of. */
void names_set_version(const struct node *n, uint64_t version);
/* Control thread, before loops run and when none runs any more. fn is called, on any loop, for each tag that a client or
 * an edge was told; NULL: nobody is. */
void names_on_asked(const struct node *n,
                    void (*fn)(const struct repo_name *repo, const char *tag, const struct tag_facts *facts, void *arg),
                    void *arg);
/* The whole configuration. The node itself knows only the part common to both tiers. */
const struct central_config *central_config_of(const struct node *n);

#endif
