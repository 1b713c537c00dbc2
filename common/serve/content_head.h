/* The head of an answer that carries content under a digest (a blob, or a manifest): its conditions, its fields, and the
 * heads between the ranges of a multipart answer. Thread: serving loop. */
#ifndef ENTREPOT_SERVE_CONTENT_HEAD_H
#define ENTREPOT_SERVE_CONTENT_HEAD_H

#include "common/serve/serve_private.h"

/* Where the content comes from, for Cache-Status. */
struct origin {
    const char *source; /* NULL: it is held here; "": nobody has answered yet */
    bool joined;
};

struct etag {
    char text[DIGEST_STR_MAX + 2]; /* quotes included */
};

void content_etag(const struct exchange *x, struct etag *etag);

/* Adds the fields of the answer. Only for answers that carry the content: caches must not keep an error for a year. */
void content_fields(struct exchange *x, const struct origin *from, const struct etag *etag);
/* Answers If-Match and If-None-Match. True: the request is answered. */
bool content_settled_by_conditions(struct exchange *x, const struct origin *from, const struct etag *etag);
/* The Range header that counts, or NULL for the whole. */
const char *content_range_asked(const struct exchange *x, const struct etag *etag);

/* One range of a multipart answer. */
struct content_part {
    struct http_range range;
    int64_t size; /* of the whole content */
    const char *media_type;
    bool first;
};
/* Both write at most cap bytes, and return the length as snprintf does. */
int content_part_head(const struct exchange *x, const struct content_part *p, char *out, size_t cap);
int content_parts_end(const struct exchange *x, char *out, size_t cap);

#endif
