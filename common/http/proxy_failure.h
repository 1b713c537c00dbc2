/* How the failures of calls by a proxy are told: what the proxy did, and that it was the proxy. Pure. Thread: any. */
#ifndef ENTREPOT_HTTP_PROXY_FAILURE_H
#define ENTREPOT_HTTP_PROXY_FAILURE_H

#include "common/core/base.h"

#include <curl/curl.h>

/* A call by a proxy. Borrowed. */
struct proxied_call {
    const char *proxy; /* "host:port" */
    bool has_user;     /* the proxy was given a user and password */
    const char *place; /* "host:port" of the server that was wanted */
};

/* True if an answer to a call for plain http was made by the proxy instead of the server: 407, or an error page, which
 * no registry and no node of ours sends. content_type: NULL if there is none. */
bool proxy_answers_itself(int status, const char *content_type);
/* Fills msg: the proxy refused with this status. */
void proxy_refusal_tell(const struct proxied_call *c, long status, char *msg, size_t cap);
/* Fills msg: libcurl's result r, os_error (errno of the failed connect; 0: none) and libcurl's own text. False: it is
 * not the proxy's doing, and msg is as it was. */
bool proxy_failure_tell(const struct proxied_call *c, CURLcode r, long os_error, const char *text, char *msg,
                        size_t cap);

#endif
