/* Checks of a wanted answer: acceptable in itself, and the same as an earlier try's. Pure. Thread: any. */
#include "central/upstream/request.h"
#include "common/fill/wire_http.h"

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
    /* A HEAD asked as a GET wants the first byte alone. */
    int64_t offset = r->head_by_get ? 0 : r->rq.offset, length = r->head_by_get ? 1 : r->rq.length;
    int code = fetch_head_from_answer(h, skip, end, r->f.u->cfg->name, a, offset, length);
    if (code < 0) return code;
    h->origin = r->e->url;
    return check_same(r, h, end);
}
