/* Decoder of the chunked transfer coding (RFC 9112 section 7.1), strict: sizes are bare hex digits, lines end with CR
 * LF, extensions and trailers are bounded and dropped. Pure. Thread: owned by its user. */
#ifndef ENTREPOT_HTTP_CHUNKED_H
#define ENTREPOT_HTTP_CHUNKED_H

#include "common/core/base.h"

struct chunked {
    int state;
    int64_t left;      /* bytes of the current chunk's data to come */
    unsigned digits;   /* of the size being read */
    size_t line_bytes; /* of extensions and trailers so far */
    bool done;
};

void chunked_init(struct chunked *c);
/* Takes from data[0, len): *out, *out_len is the payload found (maybe none; it lies within data). Returns the bytes
 * consumed, which may be fewer than len when payload was found or the body is done; ERR_INVALID when the coding is
 * broken. */
ssize_t chunked_feed(struct chunked *c, const char *data, size_t len, const char **out, size_t *out_len);
/* The last n bytes of the payload just returned were not taken: they will be fed again. */
void chunked_give_back(struct chunked *c, size_t n);

#endif
