/* One logical request to an upstream. Thread: the fetch loop.
 *
 *   QUEUED ── a slot ──▶ CHOOSING ── an endpoint ──▶ SIGNING ── token, or none needed ──▶ ASKING ── 200, 206 ──▶
 * TELLING ──▶ over ▲ too long: BUSY      ▲ ▲                        ▲                                   │ │ └── RESTING
 * ◀── failed: 5xx, reset, time-out, all tried ─────┤ ├──────────────── refused: 404, 401, 429: another endpoint ────┤
 *                            │                          ├── 401 ────────────────────────────┤
 *                            │                          └── WAITING ◀── Retry-After ────────┤
 *                            └── (ASKING elsewhere) ◀── 3xx ────────────────────────────────┘
 *
 * Once a byte of the body was told nothing is tried again here: whoever reads knows better where to go on. */
#include "central/upstream/request.h"

#include <stdio.h>
#include <string.h>

#include "central/upstream/redirect.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/fill/wire_http.h"

#define REFUSAL_SHOWN_MAX 8192
#define REFUSAL_BYTES_MAX (64 * 1024) /* read on, to keep the connection, up to here */
#define REFUSAL_MS 3000
#define SMALL_BODY_MAX (16 * MiB) /* of anything but a blob, if the caller sets no limit */
#define WAITS_MAX 2

bool up_is_head(const struct up_request *r) {
    return r->rq.kind == FETCH_MANIFEST_HEAD || (r->rq.kind == FETCH_BLOB_HEAD && !r->head_by_get);
}

bool up_counts(const struct up_request *r) {
    return r->rq.kind == FETCH_MANIFEST;
}

/* --- ending --- */

/* Everything that is under way for this try. */
static void stop_try(struct up_request *r) {
    timer_clear(&r->timer);
    up_body_over(r);
    if (r->call) http_call_cancel(r->call);
    if (r->wait) token_wait_cancel(r->wait);
    r->call = NULL;
    r->wait = NULL;
}

static void request_free(struct up_request *r) {
    struct upstream *u = r->f.u;
    bool had_slot = r->f.has_slot, blob = r->f.blob;
    stop_try(r);
    if (r->f.queued) upstream_dequeue(u, &r->f);
    *r->f.link = r->f.next;
    if (r->f.next) r->f.next->link = r->f.link;
    timer_fini(&r->timer);
    up_forget_token(r);
    buf_fini(&r->refusal_body);
    free(r->url);
    free(r->location);
    free((void *)(uintptr_t)r->rq.query);
    free(r);
    if (had_slot) upstream_release(u, blob);
}

/* The last word. r is gone after it. */
void up_finish(struct up_request *r, const struct fetch_end *end) {
    struct upstream *u = r->f.u;
    struct fetch_end last = *end; /* may be r's own */
    stop_try(r);
    if (last.code != 0 && last.code != ERR_NOT_FOUND) atomic_fetch_add_explicit(&u->failures, 1, memory_order_relaxed);
    if (last.code == ERR_RATE_LIMITED) atomic_fetch_add_explicit(&u->rate_limited, 1, memory_order_relaxed);
    r->in_callback = true;
    r->ev->done(&r->f.fetch, &last, r->arg);
    request_free(r);
}

bool up_survives(struct up_request *r) {
    r->in_callback = false;
    if (!r->cancelled) return true;
    r->call = NULL; /* ended by returning false */
    request_free(r);
    return false;
}

/* --- choosing --- */

/* Which failure tells most about why there is no answer: a clear no counts only if nobody failed to answer. */
static int weight(int code) {
    static const int by_weight[] = {ERR_NOT_FOUND, ERR_UNREACHABLE, ERR_TIMEOUT,
                                    ERR_UPSTREAM,  ERR_DENIED,      ERR_RATE_LIMITED};
    for (size_t i = 0; i < ARRAY_LEN(by_weight); i++) {
        if (by_weight[i] == code) return (int)i + 1;
    }
    return 4;
}

/* Of one endpoint the latest counts. */
static void note(struct up_request *r, const struct fetch_end *end) {
    if (r->worst.code && r->worst_of != r->e && weight(end->code) <= weight(r->worst.code)) return;
    r->worst = *end;
    r->worst_of = r->e;
}

/* Nobody was asked: every endpoint is down, or its pull limit is used up. */
static void explain_nobody(struct up_request *r) {
    struct upstream *u = r->f.u;
    int64_t now = clock_mono_ms(), least = -1;
    const struct endpoint *down = NULL;
    for (unsigned i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *e = &u->endpoints[i];
        int64_t wait = up_counts(r) ? ratelimit_wait_s(&e->limit, now) : 0;
        if (e->down || !e->usable)
            down = e;
        else if (wait > 0 && (least < 0 || wait < least))
            least = wait;
    }
    if (least > 0) {
        fetch_end_set(&r->worst, ERR_RATE_LIMITED, "the pull limit of %.100s is used up for %lld s", u->cfg->name,
                      (long long)least);
        r->worst.retry_after_s = least;
    } else {
        fetch_end_set(&r->worst, ERR_UNREACHABLE, "%.80s cannot be reached: %.160s", u->cfg->name,
                      down && down->last_error[0] ? down->last_error : "no usable endpoint is configured");
    }
}

static void rest(struct up_request *r) {
    const struct upstream_limits *limits = r->f.u->limits;
    int64_t ms = limits->back_off_ms << (r->round - 1);
    if (ms > 1) ms -= (int64_t)arc4random_uniform((uint32_t)(ms / 2));
    r->step = UP_RESTING;
    timer_set(&r->timer, ms);
    atomic_fetch_add_explicit(&r->f.u->retries, 1, memory_order_relaxed);
}

/* Back to the registry itself. */
static void forget_target(struct up_request *r) {
    free(r->url);
    r->url = NULL;
    r->away = false;
    r->redirects = 0;
}

static void choose(struct up_request *r) {
    struct upstream *u = r->f.u;
    forget_target(r);
    bool late = clock_mono_ms() - r->began_ms >= u->limits->budget_ms;
    r->e = late ? NULL : endpoint_choose(u, r->tried | r->refused, up_counts(r));
    if (r->e) {
        if (up_counts(r)) ratelimit_asks(&r->e->limit, clock_mono_ms());
        up_sign(r);
        return;
    }
    if (!late && r->worth_retrying && r->round + 1 < u->limits->rounds &&
        endpoint_choose(u, r->refused, up_counts(r))) {
        r->round++;
        r->tried = 0;
        rest(r);
        return;
    }
    if (!r->worst.code) explain_nobody(r);
    up_finish(r, &r->worst);
}

void up_failed(struct up_request *r, const struct fetch_end *end) {
    stop_try(r);
    note(r, end);
    log_debug("upstream_try_failed", KV_S("upstream", r->f.u->cfg->name), KV_S("endpoint", r->e->url),
              KV_S("request", r->rq.request_id), KV_S("why", end->msg));
    r->tried |= r->e->bit;
    r->worth_retrying = true;
    choose(r);
}

void up_refused(struct up_request *r, const struct fetch_end *end) {
    stop_try(r);
    note(r, end);
    r->tried |= r->e->bit;
    r->refused |= r->e->bit;
    choose(r);
}

/* --- refusals: the whole answer has been read, or enough of it --- */

static void refusal_end(struct up_request *r, struct fetch_end *end) {
    char who[160];
    snprintf(who, sizeof(who), "%.150s", r->f.u->cfg->name);
    fetch_end_from_status(end, who, r->status, r->retry_after, r->refusal_body.data, r->refusal_body.len);
}

/* Asks the same endpoint again once it may be asked. False if that is too long to wait. */
static bool wait_as_told(struct up_request *r) {
    const struct upstream_limits *limits = r->f.u->limits;
    int64_t s = retry_after_parse(r->retry_after);
    int64_t spent = clock_mono_ms() - r->began_ms;
    if (s < 1 || s > limits->retry_after_s || r->waits >= WAITS_MAX || spent + s * 1000 >= limits->budget_ms)
        return false;
    r->waits++;
    forget_target(r);
    r->step = UP_WAITING;
    timer_set(&r->timer, s * 1000 + (int64_t)arc4random_uniform(100));
    atomic_fetch_add_explicit(&r->f.u->retries, 1, memory_order_relaxed);
    return true;
}

static void follow(struct up_request *r) {
    struct fetch_end end;
    struct redirect to = {0};
    struct error err = {0};
    const char *from = r->url;
    struct buf own;
    buf_init(&own, 16384);
    if (!from) {
        from = buf_add_str(&own, r->e->url) == 0 && fetch_target(&own, &r->rq, false) == 0 ? own.data : "";
    }
    int code = redirect_follow(from, r->location, &to, &err);
    buf_fini(&own);
    if (code == 0 && ++r->redirects > REDIRECTS_MAX) code = error_set(&err, ERR_UPSTREAM, "sends us on and on");
    if (code < 0) {
        free(to.url);
        fetch_end_set(&end, code, "%.80s %.160s", r->f.u->cfg->name, err.msg);
        end.status = r->status;
        up_refused(r, &end);
        return;
    }
    free(r->url);
    r->url = to.url;
    r->away = r->away || !to.same_origin;
    atomic_fetch_add_explicit(&r->f.u->redirects, 1, memory_order_relaxed);
    up_ask(r);
}

/* A signed URL that ran out between two requests, or does not allow HEAD: once more from the registry. */
static void restart(struct up_request *r) {
    r->restarted = true;
    r->head_by_get = r->rq.kind == FETCH_BLOB_HEAD;
    forget_target(r);
    atomic_fetch_add_explicit(&r->f.u->retries, 1, memory_order_relaxed);
    up_sign(r);
}

static void limited(struct up_request *r, struct fetch_end *end) {
    if (wait_as_told(r)) return;
    int64_t now = clock_mono_ms();
    if (up_counts(r) && !r->away) {
        ratelimit_refused(&r->e->limit, end->retry_after_s, now);
        if (end->retry_after_s == 0) end->retry_after_s = ratelimit_wait_s(&r->e->limit, now);
    }
    up_refused(r, end);
}

static void refusal_over(struct up_request *r) {
    struct fetch_end end;
    stop_try(r);
    refusal_end(r, &end);
    if (redirect_is(r->status)) {
        follow(r);
    } else if (r->away && (r->status == 401 || r->status == 403 || r->status == 405)) {
        if (r->restarted)
            up_refused(r, &end);
        else
            restart(r);
    } else if (r->status == 401) {
        up_unauthorized(r);
    } else if (r->status == 429) {
        limited(r, &end);
    } else if (r->status == 408 || (r->status >= 500 && r->status != 501)) {
        if (wait_as_told(r)) return;
        if (end.retry_after_s > r->f.u->limits->retry_after_s)
            up_refused(r, &end);
        else
            up_failed(r, &end);
    } else {
        up_refused(r, &end);
    }
}

static void take_refusal(struct up_request *r, const struct http_answer *a) {
    r->refusal = true;
    r->status = a->status;
    r->refusal_bytes = 0;
    r->asked = (struct challenge){0};
    buf_clear(&r->refusal_body);
    const char *retry = a->header(a, "retry-after"), *location = a->header(a, "location"), *line;
    snprintf(r->retry_after, sizeof(r->retry_after), "%s", retry ? retry : "");
    free(r->location);
    r->location = location ? strdup(location) : NULL;
    for (unsigned i = 0; (line = a->header_at(a, "www-authenticate", i)); i++)
        challenge_add(&r->asked, line);
    timer_set(&r->timer, REFUSAL_MS);
    if (r->paused) http_call_resume(r->call); /* it is for us alone */
}

/* --- the HTTP call --- */

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct up_request *r = arg;
    struct endpoint *e = r->e;
    if (!r->away) {
        endpoint_answered(e, a->status, clock_mono_us() - r->sent_us);
        e->reach = r->reach = a->reach;
        if (up_counts(r) && a->status != 401 && a->status != 429) ratelimit_granted(&e->limit);
        const char *remaining = a->header(a, "ratelimit-remaining");
        ratelimit_seen(&e->limit, a->header(a, "ratelimit-limit"), remaining, clock_mono_ms());
        if (remaining && e->limit.known) endpoint_show_limit(e);
    }
    if (a->status == 200 || a->status == 206) return up_tell_head(r, a);
    take_refusal(r, a);
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct up_request *r = arg;
    if (!r->refusal) return up_tell_data(r, data, len);
    r->refusal_bytes += len;
    if (r->refusal_bytes > REFUSAL_BYTES_MAX) {
        r->call = NULL;
        refusal_over(r);
        return false;
    }
    size_t room = REFUSAL_SHOWN_MAX - r->refusal_body.len;
    if (buf_add(&r->refusal_body, data, len < room ? len : room) < 0) return true; /* shown less of */
    return true;
}

static void broke(struct up_request *r, const struct http_result *res) {
    struct fetch_end end;
    /* An address that the registry sent us to is the registry's fault; a URL that is none, never the asker's. */
    bool misled = (r->away && res->code == ERR_DENIED) || res->code == ERR_INVALID;
    fetch_end_set(&end, misled ? ERR_UPSTREAM : res->code, "%.80s: %.170s", r->f.u->cfg->name, res->msg);
    end.status = res->status;
    bool silent = res->status == 0 && (res->code == ERR_UNREACHABLE || res->code == ERR_TIMEOUT);
    if (silent && !r->away) endpoint_unreachable(r->e, res->msg);
    if (r->flows && res->code != ERR_TOO_BIG) endpoint_avoid(r->e, end.msg);
    if (r->given > 0 || res->code == ERR_TOO_BIG)
        up_finish(r, &end);
    else if (misled)
        up_refused(r, &end);
    else
        up_failed(r, &end);
}

/* The answer is complete as HTTP goes, yet not what its head said or what was asked for. */
static bool is_short(const struct up_request *r) {
    if (up_is_head(r)) return false;
    if (r->skip > 0) return true;
    int64_t end = r->head.total;
    if (end < 0) return false;
    if (r->rq.length > 0 && r->rq.offset + r->rq.length < end) end = r->rq.offset + r->rq.length;
    return r->rq.offset + r->given != end;
}

static void on_done(struct http_call *call, const struct http_result *res, void *arg) {
    (void)call;
    struct up_request *r = arg;
    r->call = NULL;
    if (r->refusal) {
        refusal_over(r);
    } else if (res->code != 0) {
        broke(r, res);
    } else if (is_short(r)) {
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
    if (r->refusal || !r->ev->lull) return true;
    r->in_callback = true;
    r->ev->lull(&r->f.fetch, r->arg);
    return up_survives(r);
}

static const struct http_call_events events = {on_head, on_data, on_done, on_lull};

/* What goes along with a request; the strings live here until it is started. */
struct headers {
    const char *list[5];
    char range[80], id[96], accept[256], *authorization;
};

static void set_headers(const struct up_request *r, struct headers *h) {
    const struct fetch_request *rq = &r->rq;
    unsigned n = 0;
    *h = (struct headers){0};
    if (r->head_by_get)
        snprintf(h->range, sizeof(h->range), "Range: bytes=0-0");
    else if (rq->length > 0)
        snprintf(h->range, sizeof(h->range), "Range: bytes=%lld-%lld", (long long)rq->offset,
                 (long long)(rq->offset + rq->length - 1));
    else if (rq->offset > 0)
        snprintf(h->range, sizeof(h->range), "Range: bytes=%lld-", (long long)rq->offset);
    if (h->range[0]) h->list[n++] = h->range;
    if (rq->kind == FETCH_MANIFEST || rq->kind == FETCH_MANIFEST_HEAD) {
        snprintf(h->accept, sizeof(h->accept), "Accept: %s", MANIFEST_ACCEPT);
        h->list[n++] = h->accept;
    }
    if (rq->request_id[0] && !r->away) {
        snprintf(h->id, sizeof(h->id), "X-Request-Id: %s", rq->request_id);
        h->list[n++] = h->id;
    }
    if (r->token && !r->away) {
        if (asprintf(&h->authorization, "Authorization: Bearer %s", r->token) < 0) abort();
        h->list[n++] = h->authorization;
    }
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
    bool ok = r->url || (buf_add_str(&own, r->e->url) == 0 && fetch_target(&own, &r->rq, false) == 0);
    struct headers headers;
    set_headers(r, &headers);
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
    free(headers.authorization);
    free(password);
    buf_fini(&own);
}

/* --- the source's operations --- */

static void on_timer(void *arg) {
    struct up_request *r = arg;
    struct fetch_end end;
    switch (r->step) {
    case UP_QUEUED:
        fetch_end_set(&end, ERR_BUSY, "%u requests to %.100s are under way already", r->f.u->max_active,
                      r->f.u->cfg->name);
        up_finish(r, &end);
        break;
    case UP_CHOOSING:
    case UP_RESTING:
        choose(r);
        break;
    case UP_WAITING:
        up_sign(r);
        break;
    case UP_ASKING: /* a refusal whose body does not end */
        refusal_over(r);
        break;
    case UP_TELLING:
        up_body_stretch(r);
        break;
    case UP_SIGNING:
        break;
    }
}

void up_fetch_admitted(struct up_fetch *f) {
    struct up_request *r = container_of(f, struct up_request, f);
    r->step = UP_CHOOSING;
    r->began_ms = clock_mono_ms();
    timer_set(&r->timer, 0); /* never calls back from within start, or from within another's end */
}

struct fetch *up_fetch_start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev,
                             void *arg) {
    struct upstream *u = container_of(s, struct upstream, source);
    struct up_request *r = calloc(1, sizeof(*r));
    if (!r) abort();
    r->f = (struct up_fetch){.fetch = {.source = s}, .u = u, .blob = rq->kind == FETCH_BLOB};
    r->ev = ev;
    r->arg = arg;
    r->rq = *rq;
    if (rq->query && !(r->rq.query = strdup(rq->query))) abort();
    for (unsigned i = 0; rq->liar && i < u->n_endpoints; i++) {
        if (strcmp(u->endpoints[i].url, rq->liar) == 0) endpoint_avoid(&u->endpoints[i], "it sent wrong bytes");
    }
    r->rq.liar = NULL;
    buf_init(&r->refusal_body, REFUSAL_SHOWN_MAX);
    timer_init(&r->timer, u->loop, on_timer, r);
    r->f.next = u->fetches;
    r->f.link = &u->fetches;
    if (r->f.next) r->f.next->link = &r->f.next;
    u->fetches = &r->f;
    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    r->step = UP_QUEUED;
    if (!r->f.blob) timer_set(&r->timer, u->limits->queue_ms);
    upstream_enqueue(u, &r->f);
    return &r->f.fetch;
}

static struct up_request *request_of(struct fetch *fetch) {
    return container_of(container_of(fetch, struct up_fetch, fetch), struct up_request, f);
}

void up_fetch_cancel(struct fetch *fetch) {
    struct up_request *r = request_of(fetch);
    if (r->in_callback)
        r->cancelled = true;
    else
        request_free(r);
}

void up_fetch_pause(struct fetch *fetch) {
    struct up_request *r = request_of(fetch);
    r->paused = r->stretch.held = true;
    if (r->call) http_call_pause(r->call);
}

void up_fetch_resume(struct fetch *fetch) {
    struct up_request *r = request_of(fetch);
    r->paused = false;
    if (r->call) http_call_resume(r->call);
}
