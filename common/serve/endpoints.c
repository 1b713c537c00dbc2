/* Finds rows of the endpoint table, and answers 405. Thread: serving loop. */
#include "common/serve/endpoints.h"

#include "common/serve/serve_private.h"

#include <stdio.h>
#include <string.h>

static void answer_base(struct exchange *x) {
    http_reply_header(x->req, "Docker-Distribution-Api-Version", "registry/2.0");
    http_reply(x->req, 200, "application/json", "{}", 2);
}

#define PUT METHOD_SET(HTTP_PUT)
#define PATCH METHOD_SET(HTTP_PATCH)
#define DELETE METHOD_SET(HTTP_DELETE)

static const struct endpoint_row rows[] = {
    {OCI_BASE, METHODS_READ, ACTION_NONE, false, answer_base},
    {OCI_CATALOG, METHODS_READ, ACTION_CATALOG, false, serve_catalog},
    {OCI_BLOB, METHODS_READ, ACTION_PULL, true, serve_blob},
    {OCI_MANIFEST, METHODS_READ, ACTION_PULL, true, serve_manifest},
    {OCI_TAGS, METHODS_READ, ACTION_PULL, true, serve_tags},
    {OCI_REFERRERS, METHODS_READ, ACTION_PULL, true, serve_referrers},
    /* Writes that the API defines and this node does not support. */
    {OCI_UPLOADS, METHODS_READ | METHODS_POST | PUT | PATCH | DELETE, ACTION_PUSH, true, NULL},
    {OCI_MANIFEST, PUT, ACTION_PUSH, true, NULL},
    {OCI_MANIFEST, DELETE, ACTION_DELETE, true, NULL},
    {OCI_BLOB, DELETE, ACTION_DELETE, true, NULL},
};

const struct endpoint_row *endpoint_find(enum oci_endpoint endpoint, enum http_method method) {
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].endpoint == endpoint && (rows[i].methods & METHOD_SET(method))) return &rows[i];
    }
    return NULL;
}

unsigned endpoint_allowed(enum oci_endpoint endpoint) {
    unsigned methods = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].endpoint == endpoint && rows[i].answer) methods |= rows[i].methods;
    }
    return methods;
}

void endpoint_refuse(struct http_req *req, enum oci_endpoint endpoint, const struct endpoint_row *row) {
    char allow[METHODS_TEXT_MAX], why[128];
    unsigned allowed = endpoint_allowed(endpoint);
    bool writes = !allowed || (row && (row->action == ACTION_PUSH || row->action == ACTION_DELETE));
    methods_text(allowed, allow);
    const char *last = strrchr(allow, ','); /* what is read is read by GET and by HEAD */
    if (writes || !last)
        snprintf(why, sizeof(why), "this node does not take pushes or deletions");
    else
        snprintf(why, sizeof(why), "only %.*s and%s are answered here", (int)(last - allow), allow, last + 1);
    http_reply_header(req, "Allow", allow);
    serve_error(req, REGERR_UNSUPPORTED, why, NULL);
}
