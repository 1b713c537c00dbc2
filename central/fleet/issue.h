/* The calls of the fleet port by which edges get certificates, join and renew, and show removals. Thread: serving
 * loops. */
#ifndef ENTREPOT_FLEET_ISSUE_H
#define ENTREPOT_FLEET_ISSUE_H

#include "central/fleet/ca.h"
#include "central/fleet/cert_names.h"
#include "central/fleet/roster.h"
#include "common/http/server.h"

struct issue {
    struct ca *ca;
    struct roster *roster;
    struct workpool *pool; /* where certificates are signed */
    struct cert_names *names;
    int64_t lifetime_s; /* of the certificate of a registry port */
    /* An edge has shown removals that were not known. Work pool. */
    void (*removed)(void *arg);
    void *arg;
};

/* POST /fleet/v1/join, /fleet/v1/renew and /fleet/v1/certificate (common/wire/join_message.h). */
void issue_join(struct issue *i, struct http_req *req);
void issue_renew(struct issue *i, struct http_req *req);
void issue_certificate(struct issue *i, struct http_req *req);
/* POST /fleet/v1/removals (common/wire/fleet_message.h): removals that this central may have forgotten. */
void issue_removals(struct issue *i, struct http_req *req);

#endif
