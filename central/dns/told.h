/* What edges that answer DNS are told: the zone, encoded once for all of them, and the states of its edges, which go with
 * the watch. Thread: any, under a lock that is held for a copy at most. */
#ifndef ENTREPOT_CENTRAL_DNS_TOLD_H
#define ENTREPOT_CENTRAL_DNS_TOLD_H

#include "common/core/buf.h"
#include "common/dns/view.h"
#include "common/http/server.h"

struct dns_told;
struct dns_told *dns_told_new(void);
void dns_told_free(struct dns_told *t);

/* The zone that views have from now on, and how it was made. ERR_TOO_BIG: it has no room in a message, so nothing is told
 * any more. */
int dns_told_zone(struct dns_told *t, const struct dns_zone *z, const struct dns_zone_parts *parts,
                  unsigned registry_port, int64_t silent_ms) must_check;
/* A view of that zone. */
void dns_told_view(struct dns_told *t, const struct dns_view *v);

/* A number that rises with each view; 0: nothing is told. */
uint64_t dns_told_version(const struct dns_told *t);
/* Appends the states as a message of the watch. Returns their version; 0: nothing is told. */
uint64_t dns_told_add(struct dns_told *t, struct buf *out);
/* Serving loop: answers with the zone, or 404. */
void dns_told_answer(struct dns_told *t, struct http_req *req);

#endif
