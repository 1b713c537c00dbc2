/* Maps results to statuses. Thread: any. */
#include "common/http/http_status.h"

int http_status_error(int status) {
    switch (status) {
    case 400:
        return ERR_INVALID;
    case 401:
    case 403:
        return ERR_DENIED;
    case 404:
    case 410:
        return ERR_NOT_FOUND;
    case 408:
    case 504:
        return ERR_TIMEOUT;
    case 409:
        return ERR_BUSY;
    case 429:
        return ERR_RATE_LIMITED;
    default:
        return ERR_UPSTREAM;
    }
}

int http_error_status(int code) {
    switch (code) {
    case ERR_INVALID:
    case ERR_UNSUPPORTED:
        return 400;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_TOO_BIG:
        return 413;
    case ERR_OUTDATED:
        return 409;
    case ERR_BUSY:
        return 503;
    default:
        return 500;
    }
}
