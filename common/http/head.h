/* The strict parser of request heads (RFC 9112 sections 2 to 7). Pure: works on the caller's buffer, allocates nothing.
 * Thread: any. */
#ifndef ENTREPOT_HTTP_HEAD_H
#define ENTREPOT_HTTP_HEAD_H

#include "common/http/server.h"

#define HEAD_HEADERS_MAX 100
#define HEAD_TARGET_MAX 8192

struct head_field {
    uint32_t name, value; /* offsets; both are NUL-terminated in place once the head is complete */
    uint32_t name_len, value_len;
};

struct head {
    enum http_method method;
    uint32_t method_at, target_at, target_len; /* NUL-terminated in place */
    unsigned minor;                            /* HTTP/1.minor: 0 or 1 */
    bool keep_alive, chunked, expect_continue;
    int64_t content_length; /* -1: no Content-Length */
    unsigned n_fields;
    struct head_field fields[HEAD_HEADERS_MAX];
};

/* Parses a complete head in buf[0, len). Returns its length in bytes (> 0), with *h filled and names, values and target
 * in the buffer NUL-terminated in place. 0: incomplete so far. Negative: the status to refuse it with (-400, -414,
 * -417, -431, -501), and *why, a static text. Skips at most two empty lines before the request line. scanned: set to 0
 * for a new head and keep between calls, so that each byte is read once. */
ssize_t head_parse(struct head *h, char *buf, size_t len, size_t *scanned, const char **why);
/* The first field of that name, or NULL. */
const struct head_field *head_find(const struct head *h, const char *buf, const char *name);

#endif
