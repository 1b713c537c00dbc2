/* The part by which an edge answers DNS queries for central's zone, where dns.listen says so. Thread: control. */
#ifndef ENTREPOT_EDGE_DNS_DNS_PART_H
#define ENTREPOT_EDGE_DNS_DNS_PART_H

#include "common/node/node_part.h"

extern const struct node_part part_edge_dns;

#endif
