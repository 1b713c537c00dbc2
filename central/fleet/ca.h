/* The fleet's authority: a root, a standby root, and a signer below the root that signs central's own certificate and
 * those of the edges. They are made at central's first start and live in DATA/identity:
 *
 *   root.pem, root.key.pem        the root and its key; the key may be elsewhere (fleet.ca_key_file) or taken away
 *   standby.pem, standby.key.pem  a second root that every edge trusts already; its key belongs into a safe
 *   signer.pem                    the signer's key and certificate
 *
 * Thread: any, once opened (immutable). */
#ifndef ENTREPOT_FLEET_CA_H
#define ENTREPOT_FLEET_CA_H

#include <openssl/ssl.h>

#include "common/identity/member.h"

#define CA_ROOTS 2 /* the root and the standby root */

struct ca;

/* Reads the authority, or makes it if there is none. key_file: where the root's key is; NULL: in DATA/identity. The
 * root's key is needed only to make a signer. */
int ca_open(struct ca **out, const char *data, const char *key_file, struct error *err) must_check;
void ca_close(struct ca *ca);

const char *ca_fleet(const struct ca *ca);
/* Borrowed. */
X509 *ca_root(const struct ca *ca, unsigned i);
X509 *ca_signer(const struct ca *ca);
/* Signs a certificate for an edge. not_before and not_after of m count. The caller frees it. */
X509 *ca_issue(const struct ca *ca, const struct member *m, EVP_PKEY *key);
/* A context for the fleet port with a new certificate of central's own, good for lifetime_s seconds. It asks the other
 * end for a certificate and takes any; SSL_get_verify_result says whether the fleet's authority has signed it. */
SSL_CTX *ca_context(const struct ca *ca, int64_t lifetime_s);
/* True if the key of that root is on this machine. */
bool ca_has_key(const struct ca *ca, unsigned i);

#endif
