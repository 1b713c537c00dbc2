/* Who a certificate of the fleet names: central, an edge, or the authority that signs them. It stands in the
 * certificate as a URI (subject alternative name):
 *
 *   entrepot://FLEET/central
 *   entrepot://FLEET/authority
 *   entrepot://FLEET/edge/SITE/NAME?generation=N
 *
 * FLEET is the UUID that central made with its root. A plain value. Pure. Thread: any. */
#ifndef ENTREPOT_IDENTITY_MEMBER_H
#define ENTREPOT_IDENTITY_MEMBER_H

#include <openssl/x509.h>

#include "common/core/error.h"

enum member_role { MEMBER_NONE, MEMBER_AUTHORITY, MEMBER_CENTRAL, MEMBER_EDGE };

#define FLEET_ID_MAX 37    /* a UUID and NUL */
#define MEMBER_NAME_MAX 64 /* of an edge or a site, with NUL */
#define MEMBER_URI_MAX 256
#define MEMBER_KEY_BYTES 32 /* SHA-256 of a public key's DER form */

struct member {
    enum member_role role;
    char fleet[FLEET_ID_MAX];
    char site[MEMBER_NAME_MAX], name[MEMBER_NAME_MAX]; /* of an edge */
    uint64_t generation;                               /* of an edge: counted up with each renewal, from 1 */
    uint8_t key[MEMBER_KEY_BYTES];                     /* of its public key; set by member_of only */
    int64_t not_before, not_after;                     /* seconds since the epoch; set by member_of only */
};

/* A name of a site or an edge: 1 to 63 letters, digits, '-', '_' and '.', the first a letter or digit. */
bool member_name_is_valid(const char *name);
/* Function for config_key.check. ERR_INVALID. */
int member_name_check(const char *name, struct error *err);
/* Writes the URI. Returns out. */
char *member_uri(const struct member *m, char out[MEMBER_URI_MAX]);
/* Reads a URI. False: it is not of this form. */
bool member_from_uri(struct member *out, const char *uri, size_t len);
/* Reads a certificate. It checks no signature. ERR_INVALID: it names no member of a fleet, or more than one. */
int member_of(struct member *out, const X509 *cert, struct error *err) must_check;
/* The SHA-256 of a public key. */
void member_key(const EVP_PKEY *key, uint8_t out[MEMBER_KEY_BYTES]);
/* A new fleet's id. */
void fleet_id_make(char out[FLEET_ID_MAX]);

#endif
