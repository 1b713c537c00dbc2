/* The state of the members part, for its own files. Thread: control, unless a function says otherwise. */
#ifndef ENTREPOT_FLEET_MEMBERS_H
#define ENTREPOT_FLEET_MEMBERS_H

#include "central/config/central_config.h"
#include "central/fleet/door.h"
#include "central/fleet/issue.h"
#include "common/node/node_part.h"

struct members {
    struct node *node;
    const struct central_config *cfg;
    struct ca *ca;
    struct roster *roster;
    struct tls_server *tls;
    struct door door;
    struct issue issue;
    struct timer renew; /* of central's own certificate */
};

/* Routes of the control socket; handlers get struct members. */
extern const struct route members_routes[];
/* Work pool. */
json_t *members_edges_json(struct members *m);
json_t *members_ca_json(const struct members *m);

#endif
