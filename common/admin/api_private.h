/* What api.c and api_verify.c share. Thread: serving loop, unless said otherwise. */
#ifndef ENTREPOT_ADMIN_API_PRIVATE_H
#define ENTREPOT_ADMIN_API_PRIVATE_H

#include <stdatomic.h>

#include "common/admin/api.h"

struct api {
    struct api_hooks hooks;
    atomic_bool verifying, stopping;
};

void api_verify(struct api *a, struct http_req *req);

#endif
