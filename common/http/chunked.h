/* A strict decoder of the chunked transfer coding (RFC 9112 section 7.1): sizes are bare hex digits, lines end with CR
 * LF, extensions and trailers are bounded and dropped. Pure. Thread: owned by its user. */
#ifndef ENTREPOT_HTTP_CHUNKED_H
#define ENTREPOT_HTTP_CHUNKED_H

#include "common/core/base.h"

struct chunked {
    int state;
    int64_t left;      /* bytes of the current chunk that are still to come */
    unsigned digits;   /* of the size being read */
    size_t line_bytes; /* of extensions and trailers so far */
    bool done;
};

void chunked_init(struct chunked *c);
/* Decodes from data[0, len). *out and *out_len are the payload that was found; it lies within data and may be empty.
 * Returns the number of bytes consumed, which may be less than len if payload was found or the body is complete.
 * ERR_INVALID: the coding is broken. */
ssize_t chunked_feed(struct chunked *c, const char *data, size_t len, const char **out, size_t *out_len);
/* The caller did not take the last n bytes of the payload just returned, and will feed them again. */
void chunked_give_back(struct chunked *c, size_t n);

#endif
