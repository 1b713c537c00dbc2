/* Registry error codes and documents (distribution-spec "Error Codes"). Thread: any. */
#ifndef ENTREPOT_OCI_REGERROR_H
#define ENTREPOT_OCI_REGERROR_H

#include "common/core/base.h"

/* The table of codes: code, default HTTP status, default message. */
#define REGISTRY_ERRORS(X)                                                                      \
    X(BLOB_UNKNOWN, 404, "blob unknown to registry")                                            \
    X(BLOB_UPLOAD_INVALID, 400, "blob upload invalid")                                          \
    X(BLOB_UPLOAD_UNKNOWN, 404, "blob upload unknown to registry")                              \
    X(DIGEST_INVALID, 400, "provided digest did not match uploaded content or is malformed")    \
    X(MANIFEST_BLOB_UNKNOWN, 404, "manifest references a manifest or blob unknown to registry") \
    X(MANIFEST_INVALID, 400, "manifest invalid")                                                \
    X(MANIFEST_UNKNOWN, 404, "manifest unknown to registry")                                    \
    X(NAME_INVALID, 400, "invalid repository name")                                             \
    X(NAME_UNKNOWN, 404, "repository name not known to registry")                               \
    X(PAGINATION_NUMBER_INVALID, 400, "invalid number of results requested")                    \
    X(RANGE_INVALID, 416, "invalid content range")                                              \
    X(SIZE_INVALID, 400, "provided length did not match content length")                        \
    X(UNAUTHORIZED, 401, "authentication required")                                             \
    X(DENIED, 403, "requested access to the resource is denied")                                \
    X(UNSUPPORTED, 405, "the operation is unsupported")                                         \
    X(TOOMANYREQUESTS, 429, "too many requests")                                                \
    X(UNAVAILABLE, 502, "the source of this content cannot be reached")                         \
    X(SETTINGS_OUTDATED, 409, "the name was decided under other settings than this node's")     \
    X(UNKNOWN, 500, "unknown error")

enum regerror {
#define X(code, status, msg) REGERR_##code,
    REGISTRY_ERRORS(X)
#undef X
        REGERR_COUNT
};
const char *regerror_code(enum regerror e);
int regerror_status(enum regerror e);
const char *regerror_message(enum regerror e);
/* The error with this code, or REGERR_UNKNOWN. */
enum regerror regerror_by_code(const char *code);
/* Writes {"errors":[{"code":…,"message":…,"detail":…}]} and returns its length in bytes. message NULL: the default;
 * detail NULL: left out. Both are escaped and cut to fit, so the result is always valid JSON. cap is at least 256. */
size_t regerror_document(enum regerror e, const char *message, const char *detail, char *buf, size_t cap);

#endif
