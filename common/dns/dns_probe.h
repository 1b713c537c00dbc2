/* Asks edges each second whether their registry answers: central those of its configuration, until they report by
 * themselves; an edge those of its own site. Thread: the loop's; dns_probes_new and dns_probes_free also while the loop
 * does not run. */
#ifndef ENTREPOT_DNS_DNS_PROBE_H
#define ENTREPOT_DNS_DNS_PROBE_H

#include "common/dns/dns_health.h"
#include "common/core/loop.h"

struct dns_probes;
/* The edges of zone that are configured or, with a site, all edges of that one. zone and site are borrowed for the call.
 * report is called with an edge's index when it has answered, or when its port is closed; not when it is silent. */
struct dns_probes *dns_probes_new(struct loop *loop, const struct dns_zone *zone, const char *site, unsigned port,
                                  void (*report)(size_t edge, const struct dns_report *r, void *arg), void *arg);
/* The edge speaks itself: it is not asked any more. Also while the loop does not run. */
void dns_probes_leave(struct dns_probes *p, size_t edge);
void dns_probes_start(struct dns_probes *p);
void dns_probes_free(struct dns_probes *p);

#endif
