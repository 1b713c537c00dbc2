/* Converts a fetch request to HTTP, and an HTTP answer to the result of a fetch: shared by every source that uses the
 * registry API (distribution-spec). Pure. Thread: any. */
#ifndef ENTREPOT_SOURCE_REGISTRY_HTTP_H
#define ENTREPOT_SOURCE_REGISTRY_HTTP_H

#include "common/core/buf.h"
#include "common/source/source.h"
#include "common/http/client.h"

/* Appends the path and query of rq ("/v2/library/app/blobs/sha256:…"). canonical: the repository with its upstream's
 * name in front, as central wants it; else as the upstream knows it. */
int fetch_target(struct buf *out, const struct fetch_request *rq, bool canonical) must_check;
/* The N of "Content-Range: bytes *\/N", as a 416 tells the size; -1: it does not. */
int64_t content_range_size(const char *value);
/* An answer's Retry-After in seconds, at most a day. A date is compared with the answer's own Date, because our clock
 * may be wrong. 0: absent or malformed. */
int64_t answer_retry_after_s(const struct http_answer *a);
/* An answer's Date as Unix time; our own clock if it has none. */
int64_t answer_date_s(const struct http_answer *a);
/* Sets *e for a status other than the wanted one. body: the error document or NULL; its first message is shown. who:
 * the name of the other side. */
void fetch_end_from_status(struct fetch_end *e, const char *who, int status, int64_t retry_after_s, const char *body,
                           size_t len);
/* As fetch_end_from_status, of a node of ours. It knows what it refuses: 400 means that the request is wrong; 503 with
 * Retry-After, that the node is busy and says when to come again, as this one will say. */
void fetch_end_from_node_status(struct fetch_end *e, const char *who, int status, int64_t retry_after_s,
                                const char *body, size_t len);
/* Checks a wanted answer (200, 206) to a request for [offset, offset + length) (length 0: to the end): it must be the
 * whole or exactly the requested part, and not re-encoded. *skip: bytes of its body before offset. Fills *h, whose
 * origin is NULL; or *e, and returns its code. who: the name of the other side. */
int fetch_head_from_answer(struct fetch_head *h, int64_t *skip, struct fetch_end *e, const char *who,
                           const struct http_answer *a, int64_t offset, int64_t length) must_check;

#endif
