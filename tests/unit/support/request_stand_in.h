/* What every stand-in of the HTTP server answers about a request. Include it after the test's own struct http_req, which
 * has the fields user, closed and peer (name NULL: no certificate was shown). Thread: the test's. */
#ifndef ENTREPOT_TESTS_SUPPORT_REQUEST_STAND_IN_H
#define ENTREPOT_TESTS_SUPPORT_REQUEST_STAND_IN_H

#include "common/http/server.h"

const struct http_peer *http_req_certified(const struct http_req *r) {
    return r->peer.name ? &r->peer : NULL;
}

bool http_req_peer(const struct http_req *r, struct ip *out) {
    (void)r;
    return ip_parse(out, "10.1.0.5", 8);
}

void http_req_set_user(struct http_req *r, void *user) {
    r->user = user;
}

void *http_req_user(const struct http_req *r) {
    return r->user;
}

void http_req_on_close(struct http_req *r, void (*fn)(struct http_req *r, bool cut)) {
    r->closed = fn;
}

#endif
