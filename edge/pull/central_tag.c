/* Tags by lookup. Unlike the answer to a HEAD, this one has a message if it fails. Thread: any. */
#include "edge/pull/central_tag.h"

#include "common/core/clock.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

int tag_question(const struct fetch_request *rq, uint8_t **out, size_t *len, struct error *err) {
    struct wire_query q = {.kind = WIRE_QUERY_TAG, .repo = rq->repo};
    snprintf(q.tag, sizeof(q.tag), "%s", rq->ref.tag);
    struct wire_request wr = {.version = WIRE_VERSION, .settings_version = rq->settings, .queries = &q, .n_queries = 1};
    snprintf(wr.request_id, sizeof(wr.request_id), "%s", rq->request_id);
    return wire_request_encode(&wr, out, len, err);
}

static void read_tag(struct tag_reply *r, const struct wire_tag *t) {
    r->facts = t->facts;
    r->facts.checked_at = clock_wall_s() - t->age_s;
    r->facts.stale = t->facts.stale || t->facts.warning[0];
    if (r->facts.stale && !t->facts.warning[0])
        snprintf(r->facts.warning, sizeof(r->facts.warning), "stale: central could not check this tag");
    r->head = (struct fetch_head){.total = t->facts.size,
                                  .has_digest = true,
                                  .digest = t->facts.digest,
                                  .age_s = t->age_s,
                                  .tag = &r->facts,
                                  .origin = "central"};
    memcpy(r->head.media_type, t->facts.media_type, sizeof(r->head.media_type));
}

void tag_reply_read(struct tag_reply *r, const char *body, size_t len) {
    memset(r, 0, sizeof(*r));
    struct wire_response rs = {0};
    struct error err = {0};
    int readable = wire_response_decode(&rs, body, len, &err);
    if (readable == 0 && rs.n_answers != 1)
        readable = error_set(&err, ERR_INVALID, "%zu answers to one query", rs.n_answers);
    if (readable < 0) {
        fetch_end_set(&r->end, ERR_UPSTREAM, "central's answer is not readable: %s", err.msg);
        wire_response_fini(&rs);
        return;
    }
    const struct wire_answer *a = &rs.answers[0];
    int code = wire_status_error(a->status);
    if (code == 0 && !a->tag) code = ERR_UPSTREAM;
    if (code == 0)
        read_tag(r, a->tag);
    else
        fetch_end_set(&r->end, code, "%s%s", strncmp(a->message, NO_SUCH_TAG, strlen(NO_SUCH_TAG)) ? "central: " : "",
                      a->message[0] ? a->message : "not known");
    r->end.retry_after_s = a->retry_after_s;
    wire_response_fini(&rs);
}
