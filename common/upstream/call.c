/* The HTTP call of a try: its headers, and the parts of its answer. Thread: the fetch loop. */
#include "common/upstream/upstream_request.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/source/registry_http.h"

#define SMALL_BODY_MAX (16 * MiB) /* of anything but a blob, if the caller sets no limit */

/* What the registry itself says of its limits. */
static void note_limit(struct up_request *r, const struct http_answer *a) {
    struct ratelimit *limit = &r->e->limit;
    struct ratelimit_told told;
    ratelimit_read(&(struct ratelimit_headers){.limit = a->header(a, "ratelimit-limit"),
                                               .remaining = a->header(a, "ratelimit-remaining"),
                                               .reset = a->header(a, "ratelimit-reset"),
                                               .together = a->header(a, "ratelimit"),
                                               .policy = a->header(a, "ratelimit-policy"),
                                               .date_s = answer_date_s(a)},
                   &told);
    if (a->status != 401 && a->status != 429) ratelimit_granted(limit, up_counts(r));
    ratelimit_seen(limit, &told, clock_mono_ms());
    up_pull_answered(r);
    endpoint_show_limit(r->e);
}

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct up_request *r = arg;
    struct endpoint *e = r->e;
    snprintf(r->proxy, sizeof(r->proxy), "%s", a->proxy ? a->proxy : "");
    if (!r->away) {
        endpoint_answered(e, a->status, clock_mono_us() - r->sent_us);
        e->reach = r->reach = a->reach;
        note_limit(r, a);
    }
    if (a->status == 200 || a->status == 206) return up_tell_head(r, a);
    up_take_refusal(r, a);
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct up_request *r = arg;
    return r->refusal ? up_refusal_data(r, data, len) : up_tell_data(r, data, len);
}

static void broke(struct up_request *r, const struct http_result *res) {
    struct fetch_end end;
    /* If the registry sent us to a forbidden address or a malformed URL, that is the registry's fault, not the
     * client's. */
    bool misled = (r->away && res->code == ERR_DENIED) || res->code == ERR_INVALID;
    fetch_end_set(&end, misled ? ERR_UPSTREAM : res->code, "%.80s: %.170s", r->f.u->cfg->name, res->msg);
    end.status = res->status;
    bool cut = res->status == 0 && res->code == ERR_UPSTREAM;
    if (cut && up_asks_by_get(r, 0)) return;
    bool silent = res->status == 0 && (res->code == ERR_UNREACHABLE || res->code == ERR_TIMEOUT);
    if (silent && !r->away) endpoint_unreachable(r->e, res->msg);
    if (r->flows && res->code != ERR_TOO_BIG) endpoint_avoid(r->e, end.msg);
    if (r->body.given > 0 || res->code == ERR_TOO_BIG)
        up_finish(r, &end);
    else if (misled)
        up_refused(r, &end);
    else
        up_failed(r, &end);
}

static void on_done(struct http_call *call, const struct http_result *res, void *arg) {
    (void)call;
    struct up_request *r = arg;
    r->call = NULL;
    if (r->refusal) {
        up_refusal_over(r);
    } else if (res->code != 0) {
        broke(r, res);
    } else if (!up_is_head(r) && registry_body_is_short(&r->body)) {
        struct fetch_end end;
        fetch_end_set(&end, ERR_UPSTREAM, "%.80s sent less than it promised", r->f.u->cfg->name);
        end.status = res->status;
        if (r->flows) endpoint_avoid(r->e, end.msg);
        up_finish(r, &end);
    } else {
        up_finish(r, &(struct fetch_end){.status = res->status});
    }
}

static bool on_lull(struct http_call *call, void *arg) {
    (void)call;
    struct up_request *r = arg;
    return r->refusal || up_survives(r, listener_lull(&r->listener));
}

static const struct http_call_events events = {on_head, on_data, on_done, on_lull};

/* What goes along with a request. Returns the Authorization header, which the caller frees; NULL: none. */
static char *set_headers(const struct up_request *r, struct registry_headers *h) {
    struct fetch_request rq = r->rq;
    if (r->head_by_get && rq.kind == FETCH_BLOB_HEAD) rq.length = 1; /* the first byte brings the head */
    if (r->whole) rq.offset = 0;
    if (r->away) rq.request_id[0] = '\0';
    registry_headers_of(h, &rq);
    const char *token = r->away ? r->there.text : r->own.text;
    char *authorization = token ? xasprintf("Authorization: Bearer %s", token) : NULL;
    if (authorization) registry_headers_add(h, authorization);
    return authorization;
}

static int64_t body_limit(const struct up_request *r) {
    bool small = r->rq.kind != FETCH_BLOB && r->rq.kind != FETCH_BLOB_HEAD;
    if (r->rq.max_body > 0) return r->rq.max_body + r->rq.offset; /* a 200 brings what is passed over, too */
    return small ? SMALL_BODY_MAX : 0;
}

void up_ask(struct up_request *r) {
    struct upstream *u = r->f.u;
    struct fetch_end end;
    char *password = NULL;
    bool basic = r->basic && !r->away;
    if (basic && up_password(u, &password, &end) < 0) {
        up_refused(r, &end);
        return;
    }
    struct buf own;
    buf_init(&own, 16384);
    bool ok = r->url || endpoint_target(r->e, &r->rq, &own) == 0;
    struct registry_headers headers;
    char *authorization = set_headers(r, &headers);
    int64_t left = u->limits->budget_ms - (clock_mono_ms() - r->began_ms);
    if (left < 1) left = 1;
    struct http_call_spec spec = {.method = up_is_head(r) ? "HEAD" : "GET",
                                  .url = r->url ? r->url : (ok ? own.data : ""),
                                  .headers = headers.list,
                                  .ca_file = u->cfg->ca_file,
                                  .username = password ? u->cfg->username : NULL,
                                  .password = password,
                                  .reach = r->away ? r->reach : HTTP_REACH_ANY,
                                  .use_proxy_env = true,
                                  .connect_ms = u->limits->connect_ms,
                                  .head_ms = u->limits->head_ms < left ? u->limits->head_ms : left,
                                  .stall_ms = u->limits->stall_ms,
                                  .max_body = body_limit(r)};
    r->step = UP_ASKING;
    r->refusal = false;
    r->sent_us = clock_mono_us();
    r->call = http_call_start(u->client, &spec, &events, r);
    if (r->paused) http_call_pause(r->call);
    atomic_fetch_add_explicit(&u->sent, 1, memory_order_relaxed);
    free(authorization);
    free(password);
    buf_fini(&own);
}
