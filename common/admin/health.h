/* Whether the node is ready: named conditions, each met or with a reason, shown by /readyz. Thread: any (a short
 * lock). */
#ifndef ENTREPOT_ADMIN_HEALTH_H
#define ENTREPOT_ADMIN_HEALTH_H

#include <jansson.h>

#include "common/core/base.h"

struct health;
#define HEALTH_CONDITIONS_MAX 16

struct health *health_new(void);
void health_free(struct health *h);
/* reason NULL: the condition is met; else why not, for a person (copied, cut at 200 bytes). name: a static word
 * ("store", "registry", "catalogue"). A node without any condition is not ready. */
void health_set(struct health *h, const char *name, const char *reason);
/* Every condition is met. */
bool health_ready(struct health *h);
/* {"ready": bool, "reasons": [{"condition","reason"}]}: what is not met. */
json_t *health_json(struct health *h);

#endif
