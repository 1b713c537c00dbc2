/* Writes requests to registries, and reads their answers. Thread: the fetch loop. */
#include "common/source/registry_client.h"

#include <assert.h>
#include <stdio.h>

/* --- headers --- */

void registry_headers_add(struct registry_headers *h, const char *line) {
    assert(h->n < REGISTRY_HEADERS_MAX);
    h->list[h->n++] = line;
}

void registry_headers_of(struct registry_headers *h, const struct fetch_request *rq) {
    *h = (struct registry_headers){0};
    if (rq->length > 0)
        snprintf(h->range, sizeof(h->range), "Range: bytes=%lld-%lld", (long long)rq->offset,
                 (long long)(rq->offset + rq->length - 1));
    else if (rq->offset > 0)
        snprintf(h->range, sizeof(h->range), "Range: bytes=%lld-", (long long)rq->offset);
    if (h->range[0]) registry_headers_add(h, h->range);
    if (rq->kind == FETCH_MANIFEST || rq->kind == FETCH_MANIFEST_HEAD) {
        snprintf(h->accept, sizeof(h->accept), "Accept: %s", MANIFEST_ACCEPT);
        registry_headers_add(h, h->accept);
    }
    if (rq->request_id[0]) {
        snprintf(h->id, sizeof(h->id), "X-Request-Id: %s", rq->request_id);
        registry_headers_add(h, h->id);
    }
}

/* --- the body --- */

void registry_body_begin(struct registry_body *b, const struct fetch_request *rq, int64_t total, int64_t skip) {
    *b = (struct registry_body){.offset = rq->offset, .length = rq->length, .total = total, .skip = skip};
}

/* Bytes that were asked for and exist; -1: unknown. */
static int64_t wanted(const struct registry_body *b) {
    int64_t rest = b->total < 0 ? -1 : b->total - b->offset;
    if (b->length == 0) return rest;
    return rest >= 0 && rest < b->length ? rest : b->length;
}

void registry_body_take(struct registry_body *b, const char **data, size_t *len) {
    size_t skipped = (int64_t)*len < b->skip ? *len : (size_t)b->skip;
    b->skip -= (int64_t)skipped;
    *data += skipped;
    *len -= skipped;
    int64_t room = b->length > 0 ? b->length - b->given : INT64_MAX;
    if ((int64_t)*len > room) *len = (size_t)room;
    b->given += (int64_t)*len;
}

int64_t registry_body_left(const struct registry_body *b) {
    int64_t all = wanted(b);
    return all < 0 ? -1 : all - b->given;
}

bool registry_body_is_enough(const struct registry_body *b) {
    return b->length > 0 && b->given == b->length;
}

bool registry_body_is_short(const struct registry_body *b) {
    return b->skip > 0 || (b->total >= 0 && registry_body_left(b) != 0);
}

/* --- the body of a refusal --- */

void registry_refusal_init(struct registry_refusal *r) {
    r->read = 0;
    buf_init(&r->body, REGISTRY_REFUSAL_KEPT_MAX);
}

void registry_refusal_fini(struct registry_refusal *r) {
    buf_fini(&r->body);
}

void registry_refusal_begin(struct registry_refusal *r) {
    r->read = 0;
    buf_clear(&r->body);
}

bool registry_refusal_take(struct registry_refusal *r, const void *data, size_t len) {
    size_t room = REGISTRY_REFUSAL_KEPT_MAX - r->body.len;
    int kept = buf_add(&r->body, data, len < room ? len : room);
    (void)kept; /* the length is within the limit */
    r->read += len;
    return r->read <= REGISTRY_REFUSAL_READ_MAX;
}

/* --- the listener --- */

static bool goes_on(struct fetch_listener *l) {
    l->in_callback = false;
    return !l->has_cancelled;
}

bool listener_head(struct fetch_listener *l, const struct fetch_head *head) {
    l->in_callback = true;
    l->events->head(l->fetch, head, l->arg);
    return goes_on(l);
}

bool listener_data(struct fetch_listener *l, const void *data, size_t len) {
    l->in_callback = true;
    l->events->data(l->fetch, data, len, l->arg);
    return goes_on(l);
}

bool listener_lull(struct fetch_listener *l) {
    if (!l->events->lull) return true;
    l->in_callback = true;
    l->events->lull(l->fetch, l->arg);
    return goes_on(l);
}

void listener_done(struct fetch_listener *l, const struct fetch_end *end) {
    l->in_callback = true;
    l->events->done(l->fetch, end, l->arg);
}

bool listener_cancel(struct fetch_listener *l) {
    if (l->in_callback) l->has_cancelled = true;
    return !l->in_callback;
}
