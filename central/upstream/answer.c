/* Checks of a wanted answer: whole or the very part asked for, not re-encoded, and the same as an earlier try's. Pure.
 * Thread: any. */
#include <string.h>
#include <strings.h>

#include "central/upstream/request.h"
#include "common/fill/wire_http.h"

static int wrong(const struct up_request *r, struct fetch_end *end, int status, const char *what) {
    fetch_end_set(end, ERR_UPSTREAM, "%.100s %s", r->f.u->cfg->name, what);
    end->status = status;
    return end->code;
}

/* The part that came, [start, stop) of total. */
static int check_part(const struct up_request *r, const struct http_answer *a, struct fetch_head *h,
                      struct fetch_end *end) {
    int64_t start, stop, offset = r->head_by_get ? 0 : r->rq.offset, length = r->head_by_get ? 1 : r->rq.length;
    if (offset == 0 && length == 0) return wrong(r, end, a->status, "sent a part where all was asked for");
    if (!content_range_parse(a->header(a, "content-range"), &start, &stop, &h->total))
        return wrong(r, end, a->status, "sent a part without saying which");
    if (start != offset || (length > 0 && stop > offset + length))
        return wrong(r, end, a->status, "sent another part than was asked for");
    if (a->content_length >= 0 && a->content_length != stop - start)
        return wrong(r, end, a->status, "sent a part whose length is not what it says");
    int64_t want = length > 0 ? offset + length : h->total;
    if (h->total >= 0 && want > h->total) want = h->total;
    if (want >= 0 && stop != want) return wrong(r, end, a->status, "sent less than the part that was asked for");
    return 0;
}

static int check_same(const struct up_request *r, const struct fetch_head *h, struct fetch_end *end) {
    const struct fetch_head *before = &r->head;
    bool size_differs = before->total >= 0 && h->total >= 0 && before->total != h->total;
    bool digest_differs = before->has_digest && h->has_digest && !digest_eq(&before->digest, &h->digest);
    if (!r->told || (!size_differs && !digest_differs)) return 0;
    return fetch_end_set(end, ERR_MISMATCH, "%.100s answered the same request with different content",
                         r->f.u->cfg->name);
}

int up_answer_check(const struct up_request *r, const struct http_answer *a, struct fetch_head *h, int64_t *skip,
                    struct fetch_end *end) {
    const char *encoding = a->header(a, "content-encoding");
    const char *type = a->header(a, "content-type"), *digest = a->header(a, "docker-content-digest");
    const char *age = a->header(a, "age");
    *h = (struct fetch_head){.total = a->content_length,
                             .link = a->header(a, "link"),
                             .warning = a->header(a, "warning"),
                             .origin = r->e->url};
    *skip = 0;
    if (encoding && *encoding && strcasecmp(encoding, "identity") != 0)
        return wrong(r, end, a->status, "sent an encoded body, which breaks its digest");
    if (a->status == 206) {
        int code = check_part(r, a, h, end);
        if (code < 0) return code;
    } else if (r->rq.offset > 0) {
        if (h->total >= 0 && h->total < r->rq.offset)
            return wrong(r, end, a->status, "has less than it was asked to continue");
        *skip = r->rq.offset;
    }
    media_type_clean(type ? type : "", h->media_type);
    h->has_digest = digest && digest_parse(&h->digest, digest, strlen(digest)) == 0;
    h->age_s = age ? retry_after_parse(age) : 0;
    return check_same(r, h, end);
}
