/* Where a registry may send us, for content and for tokens. Pure. Thread: any. */
#ifndef ENTREPOT_CENTRAL_UPSTREAM_REDIRECT_H
#define ENTREPOT_CENTRAL_UPSTREAM_REDIRECT_H

#include "common/core/error.h"
#include "common/http/client.h"

#define REDIRECTS_MAX 5

struct redirect {
    char *url;        /* freed by the caller */
    bool same_origin; /* scheme, host and port as before: credentials may go along */
};

bool redirect_is(int status);
/* Where the answer to from with this Location leads. ERR_UPSTREAM: nowhere usable, or from https to http. */
int redirect_follow(const char *from, const char *location, struct redirect *out, struct error *err) must_check;
/* A token service as an endpoint names it: http or https without credentials, and no step down from https. Where it may
 * be is checked when it is connected to. */
bool realm_is_usable(const struct http_url *endpoint, const char *realm);
/* Scheme, host (case-insensitive) and port are equal. */
bool origin_same(const struct http_url *a, const struct http_url *b);

#endif
