/* What doctor must know of the zone to judge what a resolver says: its name, and who may be named. Thread: as each
 * function says. */
#ifndef ENTREPOT_EDGE_DNS_ZONE_FACTS_H
#define ENTREPOT_EDGE_DNS_ZONE_FACTS_H

#include <jansson.h>

#include "common/dns/zone.h"
#include "common/node/node_part.h"

/* Any thread: {"name": registry.ZONE, "zone", "site", "addresses": [of the site's edges], "central": [addresses],
 * "known": whether the zone has the site, "own": [addresses by which this edge is named], "outside": [those of them that
 * no network of the site holds, if it has any]}. */
json_t *zone_facts(const struct dns_zone *z, const char *site, const char *edge);
/* Work pool; takes some seconds where central does not answer: the same, of the zone that central tells now. NULL: it
 * tells none. */
json_t *zone_facts_of_central(const struct node *n, const char *site, const char *edge);

#endif
