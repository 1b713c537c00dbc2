/* The fleet's authority: its roots, and a signer below the root that signs central's own certificate and those of the
 * edges. Root, standby root and signer are made at central's first start and live in DATA/identity:
 *
 *   root.pem, root.key.pem        the root and its key; the key may be elsewhere (fleet.ca_key_file) or taken away
 *   standby.pem, standby.key.pem  a second root that every edge trusts already; its key belongs into a safe
 *   signer.pem                    the signer's key and certificate
 *   cross.pem                     after a change of the root: the root, signed by the one before it
 *
 * A new root takes the place of the root in three steps, each of which is on disk before it counts:
 *
 *   steady ── ca_begin_rotation ──▶ spreading ── ca_switch ──▶ retiring ── ca_end_rotation ──▶ steady
 *
 *   spreading   next.pem, next-signer.pem and KEY.next are there; the old signer signs, the new root is trusted as well
 *   retiring    they have taken their places; the old root, retired.pem, is trusted for what its signer has signed
 *
 * A central that is made anew from the standby root's key (ca_recover) begins in `retiring`.
 *
 * Certificates that are given out stay valid until ca_close. Thread: any; what changes the state, one at a time, and not
 * on a loop. */
#ifndef ENTREPOT_FLEET_CA_H
#define ENTREPOT_FLEET_CA_H

#include <openssl/ssl.h>

#include "common/identity/member.h"

enum ca_root { CA_ROOT, CA_STANDBY, CA_NEXT, CA_RETIRED, CA_ROOTS };
enum ca_state { CA_STEADY, CA_SPREADING, CA_RETIRING };

struct ca;

/* Reads the authority, or makes it if there is none. key_file: where the root's key is; NULL: in DATA/identity. The
 * root's key is needed only to make a signer. */
int ca_open(struct ca **out, const char *data, const char *key_file, struct error *err) must_check;
void ca_close(struct ca *ca);

const char *ca_fleet(const struct ca *ca);
enum ca_state ca_state(const struct ca *ca);
/* Borrowed; NULL: there is none now. */
X509 *ca_root(const struct ca *ca, enum ca_root which);
const char *ca_root_word(enum ca_root which);
/* All roots that are trusted now. The caller frees the stack alone. */
STACK_OF(X509) * ca_trusted(const struct ca *ca);
/* Who signs now. Borrowed. */
X509 *ca_signer(const struct ca *ca);
/* The signer of this certificate, the present one or the one before; NULL: neither has signed it. */
X509 *ca_signer_of(const struct ca *ca, X509 *cert);
/* Signs a certificate for an edge. not_before and not_after of m count. The caller frees it. */
X509 *ca_issue(const struct ca *ca, const struct member *m, EVP_PKEY *key);
/* A certificate for a server, of no member of the fleet, that bears these hosts and addresses. */
struct ca_server {
    const char *common_name;
    const char *const *names;
    size_t n_names;
    EVP_PKEY *key;
    int64_t lifetime_s;
};
/* Signs it. The caller frees it. */
X509 *ca_issue_server(const struct ca *ca, const struct ca_server *s);
/* What leads from such a certificate to a root: its signer and, after a change of the root, the root as the one before
 * it has signed it, since clients may know that one alone. The caller frees the stack alone. */
STACK_OF(X509) * ca_server_chain(const struct ca *ca, X509 *cert);
/* A context with such a certificate for a key that is made here; s->key does not count. The caller frees it. */
SSL_CTX *ca_server_context(const struct ca *ca, const struct ca_server *s);
/* Signs bytes (identity/attest.h). The caller frees *out. Returns the signer's certificate, borrowed. */
X509 *ca_attest(const struct ca *ca, const void *data, size_t len, uint8_t **out, size_t *out_len);
/* A context for the fleet port with a new certificate of central's own, good for lifetime_s seconds. It asks the other
 * end for a certificate and takes any; SSL_get_verify_result says whether the fleet's authority has signed it. */
SSL_CTX *ca_context(const struct ca *ca, int64_t lifetime_s);
/* True if the key of that root is on this machine. Only of root, standby and next. */
bool ca_has_key(const struct ca *ca, enum ca_root which);
/* Where the root's key belongs. */
const char *ca_key_file(const struct ca *ca);

/* --- a new root --- */

/* steady → spreading. ERR_BUSY: a change is under way. -errno: the place for the root's key cannot be written, and err
 * says what is needed. */
int ca_begin_rotation(struct ca *ca, struct error *err) must_check;
/* spreading → retiring: every edge trusts the new root. */
int ca_switch(struct ca *ca, struct error *err) must_check;
/* retiring → steady: nothing that the old root's signer has signed is in use. */
int ca_end_rotation(struct ca *ca, struct error *err) must_check;
/* In seconds since the epoch; the old root is not to leave before. 0: as soon as it may. */
int64_t ca_retired_until(const struct ca *ca);

/* --- the standby root; both are for commands, and need no open authority --- */

/* Moves the standby root's key into a new file, with its certificate and the root's. ERR_NOT_FOUND: the key is not here
 * (any more). -EEXIST: there is such a file. */
int ca_export_standby(const char *data, const char *file, struct error *err) must_check;
/* Makes the authority of a new central from such a file: the standby root becomes the root, and the other roots in the
 * file are trusted until then (at least for keep_s seconds). ERR_BUSY: DATA has an authority. */
int ca_recover(const char *data, const char *key_file, const char *file, int64_t keep_s, struct error *err) must_check;

#endif
