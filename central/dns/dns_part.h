/* The DNS as a part of central. Thread: as node_part.h says. */
#ifndef ENTREPOT_CENTRAL_DNS_DNS_PART_H
#define ENTREPOT_CENTRAL_DNS_DNS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_dns;

#endif
