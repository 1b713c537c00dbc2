/* Which client a proxy speaks for: X-Forwarded-For, or Forwarded (RFC 7239), read from the right, where the nearest
 * proxy has written. Anyone can send these headers, so they count only as far as proxies that are trusted have written
 * them. Pure. Thread: any. */
#ifndef ENTREPOT_ACCESS_FORWARDED_H
#define ENTREPOT_ACCESS_FORWARDED_H

#include "common/core/network.h"

/* Who is trusted to say for whom it speaks. Immutable. */
struct proxies {
    struct network *networks;
    size_t n;
};
bool proxies_have(const struct proxies *p, const struct ip *ip);

/* peer: who has connected, a trusted proxy. The headers may be NULL. The client is the first address from the right
 * that is no trusted proxy; where the list ends or cannot be read before that, it is the last one that was read: peer
 * itself at first. If both headers are there neither counts: the proxy has written one, and anyone the other. */
struct ip forwarded_client(const struct proxies *p, const struct ip *peer, const char *x_forwarded_for,
                           const char *forwarded);

#endif
