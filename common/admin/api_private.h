/* What api.c and api_verify.c share. Thread: serving loop, unless said otherwise. */
#ifndef ENTREPOT_ADMIN_API_PRIVATE_H
#define ENTREPOT_ADMIN_API_PRIVATE_H

#include <stdatomic.h>

#include "common/admin/api.h"

struct api {
    struct api_hooks hooks;
    atomic_uint jobs; /* running in the work pool for a request */
    atomic_bool verifying, stopping;
};

void api_reply_json(struct http_req *req, int status, json_t *doc); /* takes doc */
void api_reply_error(struct http_req *req, int status, const char *message, const char *hint);
json_t *api_error_json(const char *message, const char *hint);
void api_verify(struct api *a, struct http_req *req);

#endif
