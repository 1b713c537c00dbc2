/* Finds the client behind a proxy by X-Forwarded-For or Forwarded (RFC 7239). The list is read from the right, where
 * the nearest proxy has written. Anyone can send these headers, so an address counts only if a trusted proxy has
 * written it. Pure. Thread: any. */
#ifndef ENTREPOT_ACCESS_FORWARDED_H
#define ENTREPOT_ACCESS_FORWARDED_H

#include "common/core/network.h"

/* The networks of trusted proxies. Immutable. */
struct proxies {
    struct network *networks;
    size_t n;
};
/* True if ip is a trusted proxy's. */
bool proxies_have(const struct proxies *p, const struct ip *ip);

/* The client behind peer, which is a trusted proxy. The headers may be NULL. The client is the first address from the
 * right that is not a trusted proxy. If the list ends or is malformed before that, it is the last address that was
 * read, at first peer itself. If both headers are there neither counts, because the client may have sent the one that
 * the proxy did not write. */
struct ip forwarded_client(const struct proxies *p, const struct ip *peer, const char *x_forwarded_for,
                           const char *forwarded);

#endif
