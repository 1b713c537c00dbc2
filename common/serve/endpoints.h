/* The table of endpoints under /v2/: endpoint, methods, action, and the function that answers. A row without a function
 * is a write that this node does not support. The Allow and the message of a 405 come from the table, too. Thread:
 * serving loop. */
#ifndef ENTREPOT_SERVE_ENDPOINTS_H
#define ENTREPOT_SERVE_ENDPOINTS_H

#include "common/access/action.h"
#include "common/access/route.h"
#include "common/oci/request.h"

struct exchange;

struct endpoint_row {
    enum oci_endpoint endpoint;
    unsigned methods; /* METHODS_* of access/route.h */
    enum action action;
    bool in_repository; /* its repository must be resolved first */
    void (*answer)(struct exchange *x);
};

/* The row of an endpoint and method; NULL: there is none. */
const struct endpoint_row *endpoint_find(enum oci_endpoint endpoint, enum http_method method);
/* The methods of this endpoint that are answered. */
unsigned endpoint_allowed(enum oci_endpoint endpoint);
/* Answers with 405. row: as found by endpoint_find. */
void endpoint_refuse(struct http_req *req, enum oci_endpoint endpoint, const struct endpoint_row *row);

#endif
