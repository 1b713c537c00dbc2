/* Applies --set key.path=value to a parsed configuration. Thread: main. */
#ifndef ENTREPOT_CONFIG_CONFIG_SET_H
#define ENTREPOT_CONFIG_CONFIG_SET_H

#include "common/config/config.h"
#include "common/config/config_tree.h"

/* Changes *root, which is made if it is NULL. The tree borrows argument as the origin of its values, so it must outlive
 * the tree. A path steps into mappings by ".key", and into lists by ".0", "[0]" or, where items have a name,
 * "[docker.io]". Lists that the file does not give start as their default. ERR_INVALID. */
int config_set(const struct config_schema *schema, struct config_node **root, const char *argument,
               struct error *err) must_check;
/* The key of that name; else NULL and an error that names the nearest key. where: the path so far, "" at the top. */
const struct config_key *config_key_find(const struct config_schema *schema, const char *name, const char *where,
                                         const struct config_place *place, struct error *err);

#endif
