/* Which edge a client that has come to central should have been sent to: its resolver told the DNS another address than
 * the client's own. Thread: any. */
#ifndef ENTREPOT_CENTRAL_DNS_DIRECT_H
#define ENTREPOT_CENTRAL_DNS_DIRECT_H

#include "common/dns/view.h"

/* True if host, a Host header, is registry.ZONE, the name that the DNS answers by the client's site. Whoever asks for
 * central or for an edge by another name wants just that one. */
bool dns_direct_is_asked(const struct dns_zone *z, const char *host);
/* The edge that the DNS names to a client at ip, as EDGE.SITE.ZONE in out (cap bytes). False: there is none but central,
 * it has no address of ip's family, its name is too long, or an edge of the client's own site has that address: edges,
 * and what runs beside them, must not be sent in a circle. */
bool dns_direct(const struct dns_view *v, const struct ip *ip, char *out, size_t cap);

#endif
