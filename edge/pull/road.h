/* What may stand on the road between an edge and central, for doctor: where central does not answer, a captive portal
 * may, which lets nothing through before somebody has signed in. Thread: work pool. */
#ifndef ENTREPOT_EDGE_PULL_ROAD_H
#define ENTREPOT_EDGE_PULL_ROAD_H

#include "common/node/probe.h"

/* Central at this https URL could not be reached. Asks in plain HTTP, without any identity, at its port and at port 80:
 * true if something answers there that is not central, and message (of cap bytes) says what. Takes a few seconds at
 * most. */
bool road_has_portal(struct probes *probes, const char *url, char *message, size_t cap) must_check;

#endif
