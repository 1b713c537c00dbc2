/* Fetching from central. Thread: the fetch loop.
 *
 * When central goes away (link/breaker.h), what waits for an answer and what comes then is kept until it is back, and
 * sent (again); once the breaker is open, all that fails at once. Questions for tags known here fail at once as soon as
 * central is away or silent. So no request waits for a time-out of its own. */
#include "edge/pull/central_source.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/source/registry_client.h"
#include "common/source/registry_http.h"
#include "common/wire/node_headers.h"
#include "common/wire/wire.h"
#include "edge/pull/central_tag.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define STALL_MS 20000
/* Longer than central takes to answer. */
#define LATER_TURN_MS 10000
/* A restart is over within 5 s; then a probe has to find that out. */
#define RETURN_MS 5500

enum { KIND_SMALL, KIND_BLOB };

/* How many small requests of one client may be under way while other clients ask, too. All of them pass this thread and
 * central's: beside 32 that ask for unknown tags an ordinary pull took seven times as long, beside 8 two and a half. */
static unsigned small_beside_others(unsigned requests) {
    return requests / 16 > 4 ? requests / 16 : 4;
}

struct central_source {
    struct source source;
    struct central central;
    struct timer refuse;
    bool (*knows)(const struct repo_name *repo, const char *tag, void *arg);
    void *knows_arg;
    unsigned *pulls;
    struct share *places;
    struct central_fetch *fetches;
    struct central_posts *posts;
};

struct central_fetch {
    struct fetch fetch; /* first */
    bool waiting;       /* counted in awaiting */
    bool kept;          /* until central is back */
    unsigned sent;      /* how often */
    struct share_entry place;
    bool is_too_much; /* its caller has so much waiting already that it may not wait as well */
    struct central_source *c;
    struct fetch_listener listener;
    struct http_call *call;
    struct timer start;      /* fails it from the loop */
    struct fetch_request rq; /* rq.query is ours */
    bool refused;            /* an error document is being collected */
    int status;
    int64_t retry_after_s;
    struct registry_refusal refusal;
    struct registry_body body;
    struct central_post *post; /* a tag is asked for by lookup */
    struct central_fetch *next;
};

static bool asks_known_tag(const struct central_source *c, const struct fetch_request *rq) {
    bool by_tag = rq->kind == FETCH_MANIFEST_HEAD && !rq->ref.is_digest;
    return by_tag && c->knows && c->knows(&rq->repo, rq->ref.tag, c->knows_arg);
}

static void on_silent(void *arg) {
    struct central_source *c = arg;
    for (struct central_fetch *f = c->fetches; f; f = f->next) {
        if ((f->post || f->place.waits) && asks_known_tag(c, &f->rq)) timer_set(&f->start, 0);
    }
}

/* --- fetches --- */

/* Clients wait for its bytes, which need the link. Where a tag points is a small question. */
static bool is_pull(const struct central_fetch *f) {
    return f->c->pulls && (f->rq.kind == FETCH_BLOB || f->rq.kind == FETCH_MANIFEST);
}

static void fetch_free(struct central_fetch *f) {
    for (struct central_fetch **link = &f->c->fetches; *link; link = &(*link)->next) {
        if (*link != f) continue;
        *link = f->next;
        break;
    }
    if (f->waiting) breaker_await_over(f->c->central.breaker, false);
    if (is_pull(f)) --*f->c->pulls;
    timer_fini(&f->start);
    registry_refusal_fini(&f->refusal);
    if (f->post) central_post_leave(f->post);
    free((void *)(uintptr_t)f->rq.query);
    share_leave(f->c->places, &f->place);
    free(f);
}

/* Calls done, and frees f. */
static void end(struct central_fetch *f, const struct fetch_end *e) {
    f->call = NULL;
    listener_done(&f->listener, e);
    fetch_free(f);
}

/* After a callback. False: whoever asked has cancelled in it, and f is gone. */
static bool survives(struct central_fetch *f, bool goes_on) {
    if (!goes_on) fetch_free(f);
    return goes_on;
}

/* Central does not take this edge for one of its fleet: that is like a central that cannot be reached. True: f is
 * gone. */
static bool is_refused(struct central_fetch *f, const struct http_answer *a) {
    char why[CENTRAL_WHY_MAX];
    struct fetch_end e;
    if (!breaker_is_refusal(a)) return false;
    breaker_refused(f->c->central.breaker, breaker_judge(a, why));
    central_end_unreachable(&f->c->central, &e);
    end(f, &e);
    return true;
}

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct central_fetch *f = arg;
    if (is_refused(f, a)) return false;
    breaker_heard(f->c->central.breaker);
    f->waiting = false;
    breaker_await_over(f->c->central.breaker, true);
    f->status = a->status;
    f->retry_after_s = answer_retry_after_s(a);
    if (a->status != 200 && a->status != 206) {
        f->refused = true;
        registry_refusal_begin(&f->refusal);
        return true;
    }
    struct fetch_head h;
    struct fetch_end e;
    int64_t skip;
    if (fetch_head_from_answer(&h, &skip, &e, "central", a, f->rq.offset, f->rq.length) < 0) {
        end(f, &e);
        return false;
    }
    h.origin = "central";
    if (f->rq.kind == FETCH_BLOB) share_flows(f->c->places, &f->place);
    registry_body_begin(&f->body, &f->rq, h.total, skip);
    return survives(f, listener_head(&f->listener, &h));
}

static void end_refused(struct central_fetch *f) {
    struct fetch_end e;
    const struct buf *body = &f->refusal.body;
    if (f->status == SETTINGS_REFUSED)
        central_end_outdated(&f->c->central, &e, f->rq.settings);
    else
        fetch_end_from_node_status(&e, "central", f->status, f->retry_after_s, body->data, body->len);
    end(f, &e);
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct central_fetch *f = arg;
    if (f->refused) {
        if (registry_refusal_take(&f->refusal, data, len)) return true;
        end_refused(f);
        return false;
    }
    const char *p = data;
    registry_body_take(&f->body, &p, &len);
    if (len == 0) return true;
    if (!survives(f, listener_data(&f->listener, p, len))) return false;
    if (!registry_body_is_enough(&f->body)) return true;
    /* A 200 to a ranged request goes on beyond the range: enough. */
    struct fetch_end e = {.code = 0, .status = f->status};
    end(f, &e);
    return false;
}

/* It would have no answer: it is told so from the loop. */
static bool would_be_refused(const struct central_fetch *f) {
    struct breaker *b = f->c->central.breaker;
    bool away = breaker_is_open(b);
    if (away) breaker_wanted(b);
    if (asks_known_tag(f->c, &f->rq)) return away || breaker_is_silent(b);
    return away && (f->sent >= CENTRAL_SENT_MAX || !breaker_may_return(b));
}

/* Central has gone before it answered. False: it is not waited for. */
static bool keep(struct central_fetch *f) {
    if (would_be_refused(f)) return false;
    if (f->waiting) breaker_await_over(f->c->central.breaker, false);
    f->waiting = false;
    f->call = NULL;
    f->kept = true;
    return true;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct central_fetch *f = arg;
    struct fetch_end e = {.code = 0, .status = r->status};
    if (r->status == 0 && r->code != 0 && r->code != ERR_TIMEOUT) {
        breaker_set(f->c->central.breaker, false, r->msg);
        if (keep(f)) return;
    }
    if (f->refused) {
        end_refused(f);
        return;
    }
    if (r->code != 0) {
        fetch_end_set(&e, r->code, "central: %s", r->msg);
        e.status = r->status;
    } else if (!fetch_wants_head(&f->rq) && registry_body_is_short(&f->body)) {
        fetch_end_set(&e, ERR_UPSTREAM, "central sent less than it promised");
        e.status = r->status;
    }
    end(f, &e);
}

static bool on_lull(struct http_call *call, void *arg) {
    (void)call;
    struct central_fetch *f = arg;
    return f->refused || survives(f, listener_lull(&f->listener));
}

static const struct http_call_events call_events = {on_head, on_data, on_done, on_lull};

/* It found no place, or not even room to wait for one. */
static void too_much(const struct central_fetch *f, struct fetch_end *e) {
    char who[CALLER_TEXT_MAX];
    fetch_end_set(e, ERR_BUSY, "%s has too many requests to central waiting already", caller_text(&f->rq.caller, who));
    e->retry_after_s = 1;
    e->not_sent = true;
}

/* The breaker is open, central silent, or there was no place: says so, from the loop. */
static void on_refuse(void *arg) {
    struct central_fetch *f = arg;
    struct fetch_end e;
    bool in_vain = breaker_is_silent(f->c->central.breaker) && asks_known_tag(f->c, &f->rq);
    if (breaker_is_open(f->c->central.breaker))
        central_end_unreachable(&f->c->central, &e);
    else if (!in_vain && (f->is_too_much || f->place.waits))
        too_much(f, &e);
    else
        fetch_end_set(&e, ERR_TIMEOUT, "central at %s does not answer; what this edge holds is served",
                      uplink_url(f->c->central.uplink));
    end(f, &e);
}

/* Central has gone: whoever waits for an answer is kept until it is back, or hears of it. What is on its way may still
 * come. */
static void on_gone(void *arg) {
    struct central_source *c = arg;
    bool post_waits = central_posts_wait(c->posts);
    struct central_fetch *f = c->fetches;
    while (f && !f->waiting)
        f = f->next;
    if ((!post_waits && !f) || !breaker_is_open(c->central.breaker)) return;
    timer_set(&c->refuse, 0); /* the next one: who is told may start and end others */
    if (post_waits) {
        central_posts_gone(c->posts);
    } else {
        http_call_cancel(f->call);
        if (!keep(f)) on_refuse(f);
    }
}

/* The answer to a lookup of a tag. */
static void on_tag(const struct fetch_end *e, const char *body, size_t len, void *arg) {
    struct central_fetch *f = arg;
    struct tag_reply reply;
    f->post = NULL;
    if (e->code == 0)
        tag_reply_read(&reply, body, len);
    else
        reply.end = *e;
    if (reply.end.code == 0 && !survives(f, listener_head(&f->listener, &reply.head))) return;
    end(f, &reply.end);
}

static void send_tag(struct central_fetch *f) {
    uint8_t *body = NULL;
    size_t len = 0;
    struct error err = {0};
    if (tag_question(&f->rq, &body, &len, &err) < 0) {
        timer_set(&f->start, 0);
        return;
    }
    struct central_message m = {.path = WIRE_LOOKUP_PATH,
                                .body = body,
                                .len = len,
                                .patient = !asks_known_tag(f->c, &f->rq),
                                .settings = f->rq.settings,
                                .client = caller_as_client(&f->rq.caller),
                                .request_id = f->rq.request_id};
    f->post = central_post(f->c->posts, &m, on_tag, f);
    free(body);
}

static void send_request(struct central_fetch *f) {
    struct central_source *c = f->c;
    const struct fetch_request *rq = &f->rq;
    struct buf url;
    buf_init(&url, 16384);
    char settings[64], version[17], client[CLIENT_HEADER_MAX];
    bool ok = buf_add_str(&url, uplink_url(c->central.uplink)) == 0 && fetch_target(&url, rq, true) == 0;
    struct registry_headers headers;
    registry_headers_of(&headers, rq);
    snprintf(settings, sizeof(settings), SETTINGS_HEADER ": %s", settings_header_format(rq->settings, version));
    registry_headers_add(&headers, settings);
    if (caller_as_client(&rq->caller))
        registry_headers_add(&headers, client_header_format(caller_as_client(&rq->caller), client));
    if (rq->doubted) registry_headers_add(&headers, DOUBT_HEADER ": " DOUBT_MISMATCH);
    struct http_call_spec spec = {.method = fetch_wants_head(rq) ? "HEAD" : "GET",
                                  .url = ok ? url.data : "",
                                  .headers = headers.list,
                                  .connect_ms = CENTRAL_CONNECT_MS,
                                  .head_ms = CENTRAL_HEAD_MS,
                                  .stall_ms = STALL_MS,
                                  .max_body = rq->max_body};
    uplink_secure(c->central.uplink, &spec);
    f->sent++;
    f->call = http_call_start(c->central.client, &spec, &call_events, f);
    if (rq->kind == FETCH_BLOB) share_asks(c->places, &f->place);
    f->waiting = true;
    breaker_await(c->central.breaker);
    buf_fini(&url);
}

/* It has a place. */
static void go_on(struct central_fetch *f) {
    timer_clear(&f->start);
    f->kept = false;
    if (would_be_refused(f))
        timer_set(&f->start, 0);
    else if (breaker_is_open(f->c->central.breaker))
        f->kept = true;
    else if (f->rq.kind == FETCH_MANIFEST_HEAD && !f->rq.ref.is_digest)
        send_tag(f);
    else
        send_request(f);
}

/* At this rate it ends before another request could begin. */
static bool is_nearly_over(const struct central_fetch *f) {
    int64_t left = registry_body_left(&f->body);
    return left >= 0 && left <= f->body.given;
}

static int64_t speed_of(const struct share_entry *e, void *arg) {
    (void)arg;
    const struct central_fetch *f = container_of(e, struct central_fetch, place);
    int64_t ms = clock_mono_ms() - e->since_ms;
    return f->kept || is_nearly_over(f) ? -1 : f->body.given * 1000 / (ms + 1);
}

static void on_give_way(struct share_entry *e, void *arg) {
    (void)arg;
    struct central_fetch *f = container_of(e, struct central_fetch, place);
    struct fetch_end given;
    if (f->call) http_call_cancel(f->call);
    fetch_end_set(&given, ERR_BUSY, "another needed its place among the requests to central");
    given.status = f->status;
    given.gave_way = true;
    end(f, &given);
}

static void on_place(struct share_entry *e, void *arg) {
    (void)arg;
    go_on(container_of(e, struct central_fetch, place));
}

/* Central is back. */
static void on_back(void *arg) {
    struct central_source *c = arg;
    central_posts_back(c->posts);
    for (struct central_fetch *f = c->fetches; f; f = f->next) {
        if (f->kept) go_on(f);
    }
}

/* It is not back in the time that a restart takes. */
static void on_gave_up(void *arg) {
    struct central_source *c = arg;
    central_posts_gave_up(c->posts);
    for (struct central_fetch *f = c->fetches; f; f = f->next) {
        if (f->kept) timer_set(&f->start, 0);
    }
}

static struct fetch *start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev, void *arg) {
    struct central_source *c = container_of(s, struct central_source, source);
    struct central_fetch *f = xcalloc(1, sizeof(*f));
    *f = (struct central_fetch){.fetch = {.source = s},
                                .c = c,
                                .listener = {.fetch = &f->fetch, .events = ev, .arg = arg},
                                .rq = *rq,
                                .body = {.length = rq->length, .total = -1},
                                .next = c->fetches};
    c->fetches = f;
    if (is_pull(f)) ++*c->pulls;
    f->rq.query = xstrdup_or_null(rq->query);
    registry_refusal_init(&f->refusal);
    timer_init(&f->start, c->central.loop, on_refuse, f);
    if (would_be_refused(f)) {
        timer_set(&f->start, 0);
        return &f->fetch;
    }
    unsigned kind = rq->kind == FETCH_BLOB ? KIND_BLOB : KIND_SMALL;
    f->is_too_much = share_enter(c->places, &f->place, &rq->caller, kind, rq->offset > 0 || rq->begun) < 0;
    if (f->is_too_much)
        timer_set(&f->start, 0);
    else if (f->place.waits && kind == KIND_SMALL)
        timer_set(&f->start, CENTRAL_HEAD_MS);
    return &f->fetch;
}

static void wanted_by(struct fetch *fetch, const struct caller *caller) {
    struct central_fetch *f = container_of(fetch, struct central_fetch, fetch);
    share_move(f->c->places, &f->place, caller);
}

static void cancel(struct fetch *fetch) {
    struct central_fetch *f = container_of(fetch, struct central_fetch, fetch);
    if (!listener_cancel(&f->listener)) return;
    if (f->call) http_call_cancel(f->call);
    fetch_free(f);
}

static void pause_fetch(struct fetch *fetch) {
    struct central_fetch *f = container_of(fetch, struct central_fetch, fetch);
    if (f->call) http_call_pause(f->call);
}

static void resume_fetch(struct fetch *fetch) {
    struct central_fetch *f = container_of(fetch, struct central_fetch, fetch);
    if (f->call) http_call_resume(f->call);
}

static const struct source_ops ops = {start, cancel, pause_fetch, resume_fetch, wanted_by};

/* --- the source --- */

struct central_source *central_source_new(const struct central_source_config *cfg) {
    struct loop *l = cfg->loop;
    struct http_client *client = cfg->client;
    struct central_source *c = xcalloc(1, sizeof(*c));
    c->source.ops = &ops;
    snprintf(c->source.name, sizeof(c->source.name), "central");
    c->central.uplink = cfg->uplink;
    c->central.settings = cfg->settings;
    c->central.loop = l;
    c->central.client = client;
    c->pulls = cfg->pulls;
    c->central.breaker = breaker_new(&(struct breaker_config){.uplink = cfg->uplink,
                                                              .loop = l,
                                                              .client = client,
                                                              .return_ms = RETURN_MS,
                                                              .opened = on_gone,
                                                              .closed = on_back,
                                                              .gave_up = on_gave_up,
                                                              .silent = on_silent,
                                                              .arg = c});
    c->posts = central_posts_new(&c->central);
    timer_init(&c->refuse, l, on_gone, c);
    unsigned blobs = cfg->requests - cfg->requests / 4;
    c->places = share_new(&(struct share_config){
        .places = cfg->requests,
        .kinds = {[KIND_SMALL] = {.most = blobs, .most_beside_others = small_beside_others(cfg->requests), .weight = 3},
                  [KIND_BLOB] = {.most = blobs, .weight = 1}},
        .queue_of_one = cfg->queue_of_one,
        .queue = cfg->queue,
        .placed = on_place,
        .loop = l,
        .later_turn_ms = LATER_TURN_MS,
        .speed = speed_of,
        .give_way = on_give_way});
    return c;
}

void central_source_free(struct central_source *c) {
    if (!c) return;
    share_close(c->places);
    while (c->fetches)
        cancel(&c->fetches->fetch);
    share_free(c->places);
    central_posts_free(c->posts);
    timer_fini(&c->refuse);
    breaker_free(c->central.breaker);
    free(c);
}

void central_source_known_tags(struct central_source *c,
                               bool (*knows)(const struct repo_name *repo, const char *tag, void *arg), void *arg) {
    c->knows = knows;
    c->knows_arg = arg;
}

void central_source_on_found(struct central_source *c, void (*found)(void *arg), void *arg) {
    breaker_on_found(c->central.breaker, found, arg);
}

void central_source_on_outdated(struct central_source *c, void (*outdated)(void *arg), void *arg) {
    c->central.outdated = outdated;
    c->central.outdated_arg = arg;
}

void central_source_found(void *arg) {
    struct central_source *c = arg;
    breaker_set(c->central.breaker, true, NULL);
}

void central_source_refused(struct central_source *c, const char *why) {
    breaker_refused(c->central.breaker, why);
}

struct central_posts *central_source_posts(struct central_source *c) {
    return c->posts;
}

bool central_source_lacks_settings(const struct central_source *c, char *why, size_t cap) {
    return central_lacks_settings(&c->central, why, cap);
}

void central_source_places(const struct central_source *c, struct share_stats *out) {
    share_stats(c->places, out);
}

struct source *central_source(struct central_source *c) {
    return &c->source;
}

void central_source_state(struct central_source *c, struct central_state *out) {
    breaker_state(c->central.breaker, out);
}
