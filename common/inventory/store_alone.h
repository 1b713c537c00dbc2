/* A store opened by a command while no daemon has it. Thread: main. */
#ifndef ENTREPOT_INVENTORY_STORE_ALONE_H
#define ENTREPOT_INVENTORY_STORE_ALONE_H

#include <jansson.h>

#include "common/core/error.h"
#include "common/config/node_config.h"
#include "common/store/store.h"

struct store_alone {
    struct workpool *pool;
    struct store *store;
};
/* Called by central's program before any command: sets which content of its store must stay. */
void store_alone_set_guard(const struct store_guard *guard);
/* root takes on the identity of the folder's owner, so that what it makes there is the owner's, too; for others, and
 * where there is no folder, nothing changes. store_alone_open and _close do it themselves. */
int store_alone_as_owner(const char *data, struct error *err) must_check;
void store_alone_as_self(void);
/* ERR_NOT_FOUND if there is no store yet: commands that only look do not make one. */
int store_alone_open(struct store_alone *a, const struct node_config *node, struct error *err) must_check;
void store_alone_close(struct store_alone *a);

/* What store_json.h makes: from the daemon if one runs, else from the store itself. */
int store_list(const struct node_config *node, const char *repo, json_t **out, struct error *err) must_check;
int store_df(const struct node_config *node, json_t **out, struct error *err) must_check;

#endif
