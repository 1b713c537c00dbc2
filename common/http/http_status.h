/* Converts between HTTP statuses and error codes. Pure. Thread: any. */
#ifndef ENTREPOT_HTTP_STATUS_H
#define ENTREPOT_HTTP_STATUS_H

#include "common/core/error.h"

/* The error code of a status of 4xx or 5xx: 400 ERR_INVALID, 401 and 403 ERR_DENIED, 404 and 410 ERR_NOT_FOUND, 408 and
 * 504 ERR_TIMEOUT, 409 ERR_BUSY, 429 ERR_RATE_LIMITED, else ERR_UPSTREAM. */
int http_status_error(int status);
/* The status for a request that failed here with an error code: 400, 404, 409, 413, 503 or 500. */
int http_error_status(int code);

#endif
