/* The row of `status` about pulls by tag. Thread: main. */
#ifndef ENTREPOT_CLI_STATUS_PULLS_H
#define ENTREPOT_CLI_STATUS_PULLS_H

#include <jansson.h>

#include "common/cli/print.h"

/* counts: what the node says of them; NULL: nothing. */
void row_pull_counts(struct table *t, const json_t *counts);

#endif
