/* All parts of a node together: starts them in order, stops them in reverse, collects their answers. Thread: as
 * node_part.h says of each function. */
#ifndef ENTREPOT_NODE_NODE_PARTS_H
#define ENTREPOT_NODE_NODE_PARTS_H

#include "common/node/node_part.h"

/* list ends with NULL. If one fails, those that have started are stopped before it returns. */
int parts_start(struct node *n, const struct node_part *const *list, struct error *err) must_check;
void parts_running(struct node *n);
void parts_ending(struct node *n);
void parts_stop(struct node *n);
void parts_routes(const struct node *n, struct route_table *t);
void parts_status(const struct node *n, json_t *into);
void parts_ready(const struct node *n, json_t *into);
void parts_doctor(const struct node *n, json_t *into);
/* Control loop: takes from fresh what may change while the node runs. Writes to the cap bytes at words what all parts
 * did; nothing if they did nothing. */
void parts_reload(const struct node *n, const struct node_config *fresh, char *words, size_t cap);
/* For metrics_collect; arg: struct node. */
void parts_metrics(struct metric_page *page, void *node);

#endif
