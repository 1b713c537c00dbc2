/* Decides where a registry may redirect us, for content and for tokens (RFC 9110 section 15.4). Pure. Thread: any. */
#ifndef ENTREPOT_UPSTREAM_REDIRECT_H
#define ENTREPOT_UPSTREAM_REDIRECT_H

#include "common/core/error.h"
#include "common/http/client.h"

#define REDIRECTS_MAX 5

struct redirect {
    char *url;        /* freed by the caller */
    bool same_origin; /* scheme, host and port as before: credentials may go along */
    bool upgraded;    /* from http to https at the same host, both at their usual ports */
};

bool redirect_is(int status);
/* Where a redirect from `from` with this Location leads. ERR_UPSTREAM: to nothing usable, or from https to http. */
int redirect_follow(const char *from, const char *location, struct redirect *out, struct error *err) must_check;
/* True if an endpoint may name this token service: http or https without credentials, and not http if the endpoint uses
 * https. Its address is checked on connecting. */
bool realm_is_usable(const struct http_url *endpoint, const char *realm);
/* Scheme, host (case-insensitive) and port are equal. */
bool origin_same(const struct http_url *a, const struct http_url *b);

#endif
