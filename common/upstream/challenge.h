/* What a registry asks for with a 401: WWW-Authenticate (RFC 9110 section 11.6.1, distribution "token authentication").
 * Pure. Thread: any. */
#ifndef ENTREPOT_UPSTREAM_CHALLENGE_H
#define ENTREPOT_UPSTREAM_CHALLENGE_H

#include "common/core/base.h"

#define REALM_MAX 1023
#define SERVICE_MAX 255
#define SCOPE_MAX 1023

struct challenge {
    bool basic, bearer; /* offered; bearer only with a usable realm */
    char realm[REALM_MAX + 1];
    char service[SERVICE_MAX + 1]; /* "" if not given */
    char scope[SCOPE_MAX + 1];     /* "" if not given */
};

/* Adds what one header line offers: any number of challenges in any order and spacing; schemes and parameters that are
 * not ours are passed over. Of several Bearer challenges the first usable one counts. Zero-initialise c. */
void challenge_add(struct challenge *c, const char *value);

#endif
