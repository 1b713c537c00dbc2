/* Checks of a wanted answer: acceptable in itself, and the same as an earlier try's. Thread: the fetch loop. */
#include "common/upstream/link.h"
#include "common/upstream/upstream_request.h"
#include "common/source/registry_http.h"

#include <string.h>

static int check_same(const struct up_request *r, const struct fetch_head *h, struct fetch_end *end) {
    const struct fetch_head *before = &r->head;
    bool size_differs = before->total >= 0 && h->total >= 0 && before->total != h->total;
    bool digest_differs = before->has_digest && h->has_digest && !digest_eq(&before->digest, &h->digest);
    if (!r->told || (!size_differs && !digest_differs)) return 0;
    return fetch_end_set(end, ERR_MISMATCH, "%.100s answered the same request with different content",
                         r->f.u->cfg->name);
}

/* Lists: where they go on, in the one form that those who ask know. */
static int check_link(struct up_request *r, const struct http_answer *a, struct fetch_head *h, struct fetch_end *end) {
    h->link = NULL;
    if (r->rq.kind != FETCH_TAGS && r->rq.kind != FETCH_REFERRERS) return 0;
    struct error err = {0};
    struct buf url;
    buf_init(&url, 16384);
    int code = r->url ? buf_add_str(&url, r->url) : endpoint_target(r->e, &r->rq, &url);
    free(r->link);
    r->link = NULL;
    if (code == 0) code = link_next(a, url.data, &r->link, &err);
    buf_fini(&url);
    h->link = r->link;
    return code < 0 ? fetch_end_set(end, ERR_UPSTREAM, "%.80s %.160s", r->f.u->cfg->name, err.msg) : 0;
}

/* A proxy's sign-in page, or its refusal with status 200. */
static bool is_page(const struct up_request *r, const struct fetch_head *h) {
    bool blob = r->rq.kind == FETCH_BLOB || r->rq.kind == FETCH_BLOB_HEAD; /* these may be of any type */
    return r->proxy[0] && !blob && strcmp(h->media_type, "text/html") == 0;
}

int up_answer_check(struct up_request *r, const struct http_answer *a, struct fetch_head *h, int64_t *skip,
                    struct fetch_end *end) {
    /* A HEAD of a blob asked as a GET wants the first byte alone. */
    int64_t offset = r->head_by_get ? 0 : r->rq.offset, length = r->rq.length;
    if (r->head_by_get) length = r->rq.kind == FETCH_BLOB_HEAD;
    char who[UP_WHO_MAX];
    int code = fetch_head_from_answer(h, skip, end, up_who(r, who), a, offset, length);
    if (code < 0) return code;
    if (is_page(r, h))
        return fetch_end_set(end, ERR_UPSTREAM, "%s sent a page (text/html) instead of what was asked for",
                             up_who(r, who));
    if (r->by_tag && h->has_digest && !digest_eq(&h->digest, &r->by_digest.digest)) {
        fetch_end_set(end, ERR_NOT_FOUND, "%.100s answered 404, and its tag %.128s points to another manifest by now",
                      up_who(r, who), r->rq.ref.tag);
        end->status = 404;
        return end->code;
    }
    if (check_link(r, a, h, end) < 0) return end->code;
    h->origin = r->e->url;
    h->age_s = 0; /* the age of a cache in front of the registry does not count */
    return check_same(r, h, end);
}
