/* What `status` says of central's DNS. Thread: main. */
#ifndef ENTREPOT_CLI_STATUS_DNS_H
#define ENTREPOT_CLI_STATUS_DNS_H

#include <jansson.h>

#include "common/cli/print.h"

/* Adds rows for "dns" of /api/status. */
void rows_dns(struct table *t, const json_t *dns);

#endif
