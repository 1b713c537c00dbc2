/* Answers other than the wanted one: what each means for the request. Thread: the fetch loop.
 *
 *   a redirect ──▶ asked there, without the account      401, or a token that died early ──▶ a token, then asked again
 *   HEAD refused ──▶ asked by GET                        Retry-After, and it is short ──▶ waited for, then asked again
 *   a signed URL that ran out ──▶ again from the registry
 *   404 for the digest of a tag's manifest ──▶ by the tag
 *   5xx, 408 ──▶ up_failed: tried again later             anything else ──▶ up_refused: another endpoint, or the end */
#include "common/upstream/upstream_request.h"

#include <stdio.h>
#include <string.h>

#include "common/upstream/redirect.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/source/registry_http.h"

#define REFUSAL_MS 3000
#define WAITS_MAX 2
#define NO_HEAD_MS (10 * 60 * 1000) /* so long HEAD is not tried again where it was refused and GET was not */

static void refusal_end(struct up_request *r, struct fetch_end *end) {
    char who[UP_WHO_MAX];
    fetch_end_from_status(end, up_who(r, who), r->status, r->retry_after_s, r->refusal_body.body.data,
                          r->refusal_body.body.len);
}

/* Asks the same endpoint again after its Retry-After. False: that is too long to wait. */
static bool wait_as_told(struct up_request *r) {
    const struct upstream_limits *limits = r->f.u->limits;
    int64_t s = r->retry_after_s;
    int64_t spent = clock_mono_ms() - r->began_ms;
    if (s < 1 || s > limits->retry_after_s || r->waits >= WAITS_MAX || spent + s * 1000 >= limits->budget_ms)
        return false;
    r->waits++;
    up_forget_target(r);
    r->step = UP_WAITING;
    timer_set(&r->timer, s * 1000 + (int64_t)arc4random_uniform(100));
    atomic_fetch_add_explicit(&r->f.u->retries, 1, memory_order_relaxed);
    return true;
}

static void follow(struct up_request *r) {
    char who[UP_WHO_MAX];
    struct fetch_end end;
    struct redirect to = {0};
    struct error err = {0};
    const char *from = r->url;
    struct buf own;
    buf_init(&own, 16384);
    if (!from) from = endpoint_target(r->e, &r->rq, &own) == 0 ? own.data : "";
    int code = redirect_follow(from, r->location, &to, &err);
    buf_fini(&own);
    if (code == 0 && ++r->redirects > REDIRECTS_MAX) code = error_set(&err, ERR_UPSTREAM, "redirects too often");
    if (code < 0) {
        free(to.url);
        fetch_end_set(&end, code, "%.150s %.160s", up_who(r, who), err.msg);
        end.status = r->status;
        up_refused(r, &end);
        return;
    }
    free(r->url);
    r->url = to.url;
    if (!to.same_origin) {
        r->away = true;
        r->there_sign_ins = 0;
        up_forget_token(&r->there);
    }
    atomic_fetch_add_explicit(&r->f.u->redirects, 1, memory_order_relaxed);
    up_ask(r);
}

/* A signed URL that ran out between two requests, or does not allow HEAD: once more from the registry. */
static void restart(struct up_request *r) {
    up_forget_target(r);
    atomic_fetch_add_explicit(&r->f.u->retries, 1, memory_order_relaxed);
    up_sign(r);
}

bool up_head_by_get(struct up_request *r, int status) {
    if (!up_is_head(r)) return false;
    /* For a missing tag both HEAD and GET are sent each time, because only GET can show that it is missing. */
    r->head_refused = status != 404;
    r->head_by_get = true;
    if (up_counts(r) && ratelimit_wait_s(&r->e->limit, clock_mono_ms()) > 0) return false;
    up_stop_try(r);
    restart(r);
    return true;
}

bool up_asks_by_get(struct up_request *r, int status) {
    static const int refusals[] = {0, 400, 403, 404, 405, 501};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        if (refusals[i] == status) return up_head_by_get(r, status);
    }
    return false;
}

void up_head_came_by_get(struct up_request *r) {
    if (!r->head_refused) return;
    r->e->no_head_until_ms[r->rq.kind == FETCH_BLOB_HEAD] = clock_mono_ms() + NO_HEAD_MS;
    r->head_refused = false;
}

/* True if the tag's clients are served by what is held for it. */
static bool another_is_held(const struct up_request *r, const char *tag, const struct digest *manifest) {
    const struct upstream_held *held = &r->f.u->held;
    return held->another && held->another(&r->rq.repo, tag, manifest, held->arg);
}

/* A manifest that its registry has just named for a tag is not there by its digest: asked for by the tag, but for a tag
 * for which another is held, since a registry may also refuse a digest on purpose. Whoever reads it checks its bytes.
 */
static bool ask_by_tag(struct up_request *r) {
    const struct reference *ref = &r->rq.ref;
    if (r->status != 404 || r->rq.kind != FETCH_MANIFEST || r->by_tag || !ref->is_digest) return false;
    const char *tag = named_tag(r->f.u->named, r->rq.repo.path, &ref->digest);
    if (!tag || another_is_held(r, tag, &ref->digest)) return false;
    r->by_digest = *ref;
    r->by_tag = true;
    r->rq.ref = (struct reference){0};
    snprintf(r->rq.ref.tag, sizeof(r->rq.ref.tag), "%s", tag);
    restart(r);
    return true;
}

static void limited(struct up_request *r, struct fetch_end *end) {
    if (wait_as_told(r)) return;
    int64_t now = clock_mono_ms();
    if (!r->away) {
        ratelimit_refused(&r->e->limit, end->retry_after_s, up_counts(r), now);
        if (up_counts(r) && end->retry_after_s == 0) end->retry_after_s = ratelimit_wait_s(&r->e->limit, now);
        endpoint_show_limit(r->e);
    }
    up_refused(r, end);
}

/* Another origin refuses: another registry wants a token of its own; a signed URL has run out. */
static bool mend_away(struct up_request *r) {
    if (!r->away) return false;
    if (r->status == 401 && r->asked.bearer) {
        up_unauthorized(r);
        return true;
    }
    bool may_have_run_out = r->status == 401 || r->status == 403;
    if (!may_have_run_out || r->restarted) return false;
    r->restarted = true;
    r->head_by_get = fetch_wants_head(&r->rq);
    restart(r);
    return true;
}

static void server_failed(struct up_request *r, const struct fetch_end *end) {
    if (wait_as_told(r)) return;
    if (end->retry_after_s > r->f.u->limits->retry_after_s)
        up_refused(r, end);
    else
        up_failed(r, end);
}

void up_refusal_over(struct up_request *r) {
    struct fetch_end end;
    up_stop_try(r);
    refusal_end(r, &end);
    if (redirect_is(r->status) && (r->status != 300 || r->location)) {
        follow(r);
    } else if (up_asks_by_get(r, r->status) || mend_away(r) || ask_by_tag(r)) {
        return;
    } else if (!(r->status == 401 && r->asked.bearer) && up_renews_token(r, r->status)) {
        return;
    } else if (r->status == 401) {
        up_unauthorized(r);
    } else if (r->status == 416 && !r->ends_here && up_asks_for_whole(r)) {
        return;
    } else if (r->status == 429) {
        limited(r, &end);
    } else if (failure_next(&end) != FAILURE_ASK_OTHER) {
        server_failed(r, &end);
    } else {
        up_refused(r, &end);
    }
}

void up_take_refusal(struct up_request *r, const struct http_answer *a) {
    r->refusal = true;
    r->status = a->status;
    r->refused_reach = a->reach;
    r->retry_after_s = answer_retry_after_s(a);
    r->ends_here = content_range_size(a->header(a, "content-range")) == r->rq.offset;
    r->asked = (struct challenge){0};
    registry_refusal_begin(&r->refusal_body);
    const char *location = a->header(a, "location"), *line;
    free(r->location);
    r->location = xstrdup_or_null(location);
    for (unsigned i = 0; (line = a->header_at(a, "www-authenticate", i)); i++)
        challenge_add(&r->asked, line);
    timer_set(&r->timer, REFUSAL_MS);
    if (r->paused) http_call_resume(r->call); /* it is for us alone */
}

bool up_refusal_data(struct up_request *r, const char *data, size_t len) {
    if (registry_refusal_take(&r->refusal_body, data, len)) return true;
    r->call = NULL;
    up_refusal_over(r);
    return false;
}
