/* How a fetch request looks as HTTP, and what an HTTP answer means for a fetch: the part that every source which speaks
 * the registry API shares. Pure functions. Thread: any. */
#ifndef ENTREPOT_SOURCE_REGISTRY_HTTP_H
#define ENTREPOT_SOURCE_REGISTRY_HTTP_H

#include "common/core/buf.h"
#include "common/source/source.h"
#include "common/http/client.h"

/* Appends the path and query of rq ("/v2/library/app/blobs/sha256:…"). canonical: the repository with its upstream's
 * name in front (towards central), else as the upstream knows it. */
int fetch_target(struct buf *out, const struct fetch_request *rq, bool canonical) must_check;
/* "Content-Range: bytes 5-9/100". False if it is not of that form; *total -1 for "*". */
bool content_range_parse(const char *value, int64_t *start, int64_t *end, int64_t *total);
/* Retry-After in seconds from date_s, the answer's own time: a number or an HTTP date; 0 when absent or unreadable, at
 * most a day. */
int64_t retry_after_parse(const char *value, int64_t date_s);
/* An answer's Retry-After in seconds, read against its Date: our own clock may be wrong. 0: none. */
int64_t answer_retry_after_s(const struct http_answer *a);
/* When an answer says that it was made, as Unix time; without a Date our own clock tells. */
int64_t answer_date_s(const struct http_answer *a);
/* What a status other than the wanted one means. body: the error document or NULL; its first message is shown. who:
 * names the other side. */
void fetch_end_from_status(struct fetch_end *e, const char *who, int status, int64_t retry_after_s, const char *body,
                           size_t len);
/* What a wanted answer (200, 206) to a request for [offset, offset + length) (length 0: to the end) promises: it must
 * be whole or the very part asked for, and not re-encoded. *skip: bytes of its body that lie before offset. Fills *h,
 * whose origin is left NULL; or *e, and returns its code. who: names the other side. */
int fetch_head_from_answer(struct fetch_head *h, int64_t *skip, struct fetch_end *e, const char *who,
                           const struct http_answer *a, int64_t offset, int64_t length) must_check;

#endif
