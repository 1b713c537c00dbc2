/* What `doctor` finds of the resolvers that stand between this branch's clients and the zone. Thread: main; takes some
 * seconds, because it waits until an answer has expired. */
#ifndef ENTREPOT_CLI_DOCTOR_RESOLVER_H
#define ENTREPOT_CLI_DOCTOR_RESOLVER_H

#include <jansson.h>

#include "common/cli/diagnosis.h"

/* zone: "zone" of /api/doctor: {"name": registry.ZONE, "zone", "site", "addresses": [of the site's edges], "central":
 * [addresses]}. resolver: ADDRESS[:PORT]; NULL: those of /etc/resolv.conf. Fills verdict, message and todo. */
void doctor_resolver(const json_t *zone, const char *resolver, struct doctor_check *c);

#endif
