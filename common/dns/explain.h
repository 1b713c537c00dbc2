/* Why a client gets the answer it gets, and what the DNS knows and has counted, as documents. Thread: any that may wait
 * for a lock. */
#ifndef ENTREPOT_DNS_EXPLAIN_H
#define ENTREPOT_DNS_EXPLAIN_H

#include "common/dns/answer.h"
#include "common/dns/dns_server.h"

#include <jansson.h>

/* {"name","ttl_s","scope","answers":[address],"steps":[sentence]} for registry.ZONE. scope only for a client subnet. */
json_t *dns_explain(const struct dns_view *v, const struct dns_client *client);
/* {"zone","name","listen","port","connections","kept","counts":{},"sites":[{"name","edges","named","queries",
 * "neighbour","central"}],"elsewhere","edges_not_named":[{"name","site","state"[,"why"]}],
 * "without_subnet":[{"address","queries"}]}; v NULL: without what a zone says. listen: as configured. */
json_t *dns_status(const struct dns_view *v, const struct dns_server *s, const char *listen);

#endif
