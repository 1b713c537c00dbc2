/* Joining a fleet by a token: asks central for a certificate, over TLS with a central whose root the token names.
 * Thread: main of a command; it runs a loop of its own meanwhile. */
#ifndef ENTREPOT_EDGE_LINK_JOIN_H
#define ENTREPOT_EDGE_LINK_JOIN_H

#include "common/identity/join_token.h"
#include "edge/link/identity.h"

#define JOIN_URL_MAX 300

struct join_order {
    const struct join_token *token;
    const char *data;
    const char *site;        /* that the configuration names; NULL: none */
    const char *central;     /* URL that the configuration names: tried before the token's addresses */
    const char *proxy;       /* as in struct http_call_spec */
    bool central_is_default; /* central is the built-in default: no error if nothing answers there */
};
struct join_result {
    struct identity id;
    char url[JOIN_URL_MAX]; /* where central answered: https://HOST:PORT */
    bool has_skew;
    int64_t skew_s; /* this machine's time minus central's */
};
/* The identity is not on disk yet when it returns. */
int join_run(const struct join_order *o, struct join_result *out, struct error *err) must_check;

#endif
