/* How a node of the fleet checks the certificate of the other end of a TLS connection. An edge trusts central: a chain
 * up to a pinned root, whose leaf is central's of the same fleet. Host names do not count, so tunnels work. While it
 * joins, an edge knows only the hashes of roots, and takes a root with such a hash from the chain that central sends.
 *
 * The edge's own clock may be wrong. A certificate that is not valid yet is taken: its beginning says that the clock is
 * slow. One that has expired is taken for TRUST_LATE_S more. Thread: one at a time. */
#ifndef ENTREPOT_IDENTITY_TRUST_H
#define ENTREPOT_IDENTITY_TRUST_H

#include <openssl/ssl.h>

#include "common/identity/member.h"
#include "common/identity/join_token.h"

#define TRUST_LATE_S (15 * 86400LL)

struct trust {
    STACK_OF(X509) * roots; /* borrowed; NULL: hashes count */
    const uint8_t (*hashes)[ROOT_HASH_BYTES];
    size_t n_hashes;
    char fleet[FLEET_ID_MAX]; /* "": any */
    char why[256];            /* why the last certificate was refused; "": it was not */
    int64_t slow_s;           /* the clock is at least this slow by the last certificate; 0: it is not */
};

/* Makes the context check its peer by t, which must outlive all connections made with it. */
void trust_apply(struct trust *t, SSL_CTX *ctx);
/* The same check of a chain: leaf first, then what leads to its root. 0, or ERR_DENIED with t->why set. */
int trust_check(struct trust *t, STACK_OF(X509) * chain) must_check;

#endif
