/* Range, If-Range and conditional request evaluation (RFC 9110 sections 13 and 14). Pure functions. Thread: any. */
#ifndef ENTREPOT_HTTP_RANGE_H
#define ENTREPOT_HTTP_RANGE_H

#include "common/core/base.h"

#define HTTP_RANGES_MAX 64

struct http_range {
    int64_t start, end; /* bytes, end exclusive; start < end <= size */
};

enum http_range_result {
    HTTP_RANGE_NONE,          /* no Range, or one that is not understood: send everything, 200 */
    HTTP_RANGE_PARTIAL,       /* 206; *n ranges, in the order asked, overlapping and adjoining ones merged */
    HTTP_RANGE_UNSATISFIABLE, /* 416 with Content-Range: bytes *\/size */
};

/* Parses a Range header, which may be NULL. More than HTTP_RANGES_MAX ranges or unknown syntax: NONE (RFC 9110 section
 * 14.2). */
enum http_range_result http_range_parse(const char *header, int64_t size, struct http_range ranges[HTTP_RANGES_MAX],
                                        unsigned *n);
/* True: answer 304 to GET or HEAD. etag: with its quotes. The header may be NULL. Weak comparison; "*" matches. */
bool http_if_none_match(const char *if_none_match, const char *etag);
/* True if If-Range allows the Range to be used: absent, or equal to the strong etag. A date never matches. */
bool http_if_range(const char *if_range, const char *etag);
/* True if the request may proceed: If-Match is absent, is "*" or lists the etag. False: answer 412. */
bool http_if_match(const char *if_match, const char *etag);

#endif
