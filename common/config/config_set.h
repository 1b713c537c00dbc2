/* --set key.path=value laid over a tree. Thread: main. */
#ifndef ENTREPOT_CONFIG_CONFIG_SET_H
#define ENTREPOT_CONFIG_CONFIG_SET_H

#include "common/config/config.h"
#include "common/config/config_tree.h"

/* Changes *root (made if NULL). argument is kept as the origin of what it sets: it must outlive the tree. Paths step
 * into mappings by
 * ".key", into lists by ".0", "[0]" or, where items have a name, "[docker.io]". Lists not given in the file start as
 * their default. */
int config_set(const struct config_schema *schema, struct config_node **root, const char *argument,
               struct error *err) must_check;
/* The key of that name, or NULL and an error that names the nearest. where: the path so far, "" at the top. */
const struct config_key *config_key_find(const struct config_schema *schema, const char *name, const char *where,
                                         const struct config_place *place, struct error *err);

#endif
