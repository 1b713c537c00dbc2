/* What a name means on central, by its configuration: the part that gives the node its policy. Thread: any (immutable).
 */
#ifndef ENTREPOT_NAMES_NAMES_PART_H
#define ENTREPOT_NAMES_NAMES_PART_H

#include "central/config/central_config.h"
#include "common/node/part.h"

extern const struct part part_names;
/* Once the part has started. */
const struct name_rules *names_rules(const struct node *n);
/* Control thread, before loops run: the version of the settings that edges are told, which these rules are part of. */
void names_set_version(const struct node *n, uint64_t version);
/* The whole configuration, of which the node knows the common half. */
const struct central_config *central_config_of(const struct node *n);

#endif
