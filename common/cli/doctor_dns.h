/* What `doctor` finds of central's DNS. Thread: main; may take some seconds where nothing answers. */
#ifndef ENTREPOT_CLI_DOCTOR_DNS_H
#define ENTREPOT_CLI_DOCTOR_DNS_H

#include <jansson.h>

#include "common/cli/diagnosis.h"

/* dns: "dns" of /api/doctor. Fills verdict, message and todo. */
void doctor_dns(const json_t *dns, enum node_kind kind, struct doctor_check *c);

/* zone: as made by an edge (edge/dns/zone_facts.h): the address that the branch's clients are told of it. */
void doctor_address(const json_t *zone, struct doctor_check *c);

#endif
