/* Which hosts and addresses the certificate of an edge's registry port may bear (registry.tls: fleet): what central's
 * own configuration gives to the edge's site, and of what the edge asks for only what is plausibly its own. An edge
 * that was broken into must not get a certificate by which it can pose as another. Thread: any. */
#ifndef ENTREPOT_FLEET_CERT_NAMES_H
#define ENTREPOT_FLEET_CERT_NAMES_H

#include "central/config/central_config.h"
#include "common/core/network.h"
#include "common/wire/join_message.h"

/* How many names a certificate may have. */
#define CERT_NAMES_MAX 256

struct cert_names;

/* Copies what it needs of the configuration. */
struct cert_names *cert_names_new(const struct central_config *cfg);
/* Takes the configuration that was read again. */
void cert_names_replace(struct cert_names *c, const struct central_config *cfg);
void cert_names_free(struct cert_names *c);

struct cert_names_ask {
    const char *site, *edge;
    const struct ip *from; /* the address that the request came from; NULL: not known */
    const struct wire_names *names;
};
struct cert_names_grant {
    char names[CERT_NAMES_MAX][WIRE_NAME_MAX]; /* in lower case, each once */
    size_t n;
    struct wire_names refused; /* as they were asked for */
};
/* Decides. A name is granted if it is
 *   - the edge's name in the fleet, one of central's registry.names, registry.ZONE, SITE.ZONE or EDGE.SITE.ZONE of the
 *     edge's site, or SITE.ZONE of a site that has this one as neighbour; these it gets without asking;
 *   - localhost;
 *   - an address on loopback, that of the request, one that `sites` has for the site's edges or within the site's
 *     networks; if the site has no networks: a private address, unless it is another site's or central's own. */
void cert_names_decide(struct cert_names *c, const struct cert_names_ask *ask, struct cert_names_grant *out);
/* Whether `sites` has that site, or has none at all. If not, near is the one of them whose name is nearest, "" if none
 * is near; cap is the room for it. */
bool cert_names_knows_site(struct cert_names *c, const char *site, char *near, size_t cap);
/* The names of central's own registry port. */
void cert_names_of_central(struct cert_names *c, struct cert_names_grant *out);

#endif
