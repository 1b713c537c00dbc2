/* What `doctor` finds of the fleet and of an edge's place in it. Thread: main. */
#ifndef ENTREPOT_CLI_DOCTOR_FLEET_H
#define ENTREPOT_CLI_DOCTOR_FLEET_H

#include <jansson.h>

#include "common/cli/diagnosis.h"

/* facts: /api/doctor of central. Fills verdict, message and todo. */
void doctor_fleet(const json_t *facts, struct doctor_check *c);
/* status: /api/status of an edge. */
void doctor_identity(const json_t *status, struct doctor_check *c);

#endif
