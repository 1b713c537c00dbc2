/* The table of what is answered under /v2/: endpoint, methods, what that does, and who answers. A line whose answer is
 * missing is a write that this node does not take; Allow and the words of a 405 come from the table, too. Thread:
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
    bool in_repository; /* what it is about must be resolved first */
    void (*answer)(struct exchange *x);
};

/* NULL: there is no such line. */
const struct endpoint_row *endpoint_find(enum oci_endpoint endpoint, enum http_method method);
/* The methods that are answered. */
unsigned endpoint_allowed(enum oci_endpoint endpoint);
/* Answers with 405. row: as found. */
void endpoint_refuse(struct http_req *req, enum oci_endpoint endpoint, const struct endpoint_row *row);

#endif
