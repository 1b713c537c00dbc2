/* The header lines of an answer, stored for look-ups. Thread: owned by its user. */
#ifndef ENTREPOT_HTTP_ANSWER_HEAD_H
#define ENTREPOT_HTTP_ANSWER_HEAD_H

#include "common/core/base.h"

#define ANSWER_HEADERS_MAX 128

struct answer_head {
    char *text; /* "Name\0value\0" one after the other */
    size_t len;
    unsigned n;
};

/* Adds a line. False: there are too many, or it contains a NUL. The caller limits the bytes. */
bool answer_head_add(struct answer_head *h, const char *name, size_t name_len, const char *value, size_t value_len);
/* The last of that name (case-insensitive), or NULL. */
const char *answer_head_find(const struct answer_head *h, const char *name);
/* The i-th of that name, or NULL. */
const char *answer_head_at(const struct answer_head *h, const char *name, unsigned i);
/* The body length by the framing headers (RFC 9112 section 6). -1: they do not say. -2: they are invalid: two lengths
 * that differ, no number, or a transfer coding other than chunked (libcurl would decompress it without being asked). */
int64_t answer_head_length(const struct answer_head *h);
void answer_head_clear(struct answer_head *h);
void answer_head_fini(struct answer_head *h);

#endif
